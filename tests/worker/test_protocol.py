"""The protocol of an invocation: one call at a time, in order, repeated unchanged."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_core.commands import CompletionStatus
from perdure_core.limits import CHECKPOINT_UPDATES_MAX
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.protocol import (
    CALL_BYTES_MAX,
    EDGES,
    CheckpointCall,
    CompleteCall,
    Completion,
    InvocationProtocol,
    Phase,
    StateCall,
)

DONE = Completion(CompletionStatus.SUCCEEDED, result="1")


def update(name: str, size: int = 0) -> worker_pb2.OperationUpdate:
    return worker_pb2.OperationUpdate(
        id=name, type="STEP", action="SUCCEED", payload="x" * size if size else None
    )


def names(call: object) -> list[str]:
    assert isinstance(call, CheckpointCall)
    return [message.id for message in call.updates]


def submitted(*submissions: tuple[str, bool]) -> InvocationProtocol[str]:
    """Return a running protocol with one update for each (name, urgent); the name is its waiter."""
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    for name, urgent in submissions:
        protocol.submit([update(name)], name, urgent=urgent)
    return protocol


def test_updates_that_are_not_awaited_linger_until_flushed() -> None:
    protocol = submitted(("a", False))
    assert protocol.lingers
    assert protocol.take_call("c1") is None
    protocol.flush()
    assert names(protocol.take_call("c1")) == ["a"]


def test_an_urgent_update_takes_along_what_lingers_before_it() -> None:
    protocol = submitted(("a", False), ("b", True))
    assert protocol.take_call("c1") == CheckpointCall("t1", "c1", (update("a"), update("b")))
    assert protocol.checkpoint_accepted("t2") == ["a", "b"]


def test_one_call_is_unanswered_at_a_time_and_the_next_bears_the_new_token() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    assert protocol.take_call("c2") is None
    protocol.checkpoint_accepted("t2")
    assert protocol.take_call("c2") == CheckpointCall("t2", "c2", (update("b"),))


def test_a_repeated_call_is_the_same_call() -> None:
    protocol = submitted(("a", True))
    call = protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    protocol.send_again()
    assert protocol.take_call("c2") is call
    assert protocol.take_call("c3") is None


def test_what_was_not_sent_is_not_sent_again() -> None:
    protocol = submitted(("a", False))
    protocol.send_again()
    assert protocol.take_call("c1") is None


def test_an_empty_submission_refreshes() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.submit([], "refresh", urgent=True)
    assert protocol.take_call("c1") == CheckpointCall("t1", "c1", ())
    assert protocol.checkpoint_accepted("t2") == ["refresh"]


def test_a_call_holds_so_many_updates() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    for n in range(CHECKPOINT_UPDATES_MAX + 1):
        protocol.submit([update(f"u{n}")], f"s{n}", urgent=True)
    assert names(protocol.take_call("c1")) == [f"u{n}" for n in range(CHECKPOINT_UPDATES_MAX)]
    assert len(protocol.checkpoint_accepted("t2")) == CHECKPOINT_UPDATES_MAX
    assert names(protocol.take_call("c2")) == [f"u{CHECKPOINT_UPDATES_MAX}"]
    assert protocol.checkpoint_accepted("t3") == [f"s{CHECKPOINT_UPDATES_MAX}"]


def test_what_was_submitted_together_is_recorded_together() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    half = CALL_BYTES_MAX // 2
    protocol.submit([update("a")], "first", urgent=True)
    protocol.submit([update("b", half), update("c", half), update("d", half)], "whole", urgent=True)
    protocol.submit([update("e")], "last", urgent=True)
    assert names(protocol.take_call("c1")) == ["a"]
    protocol.checkpoint_accepted("t2")
    assert names(protocol.take_call("c2")) == ["b", "c", "d"]
    assert protocol.refused() == ["whole"]
    assert names(protocol.take_call("c3")) == ["e"]


def test_a_whole_submission_does_not_share_a_call_that_would_hold_too_many() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.submit([update("a")], "first", urgent=True)
    protocol.submit([update(f"u{n}") for n in range(CHECKPOINT_UPDATES_MAX)], "whole", urgent=True)
    assert names(protocol.take_call("c1")) == ["a"]
    protocol.checkpoint_accepted("t2")
    assert len(names(protocol.take_call("c2"))) == CHECKPOINT_UPDATES_MAX


def test_a_full_call_does_not_linger() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.submit([update(f"u{n}") for n in range(CHECKPOINT_UPDATES_MAX)], "m", urgent=False)
    assert protocol.ready


def test_a_call_holds_so_many_bytes_but_at_least_one_update() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.submit([update("large", CALL_BYTES_MAX + 1)], "large", urgent=True)
    protocol.submit([update("small")], "small", urgent=False)
    assert names(protocol.take_call("c1")) == ["large"]
    protocol.checkpoint_accepted("t2")
    assert names(protocol.take_call("c2")) == ["small"]


def test_the_end_comes_after_everything_submitted() -> None:
    protocol = submitted(("a", False))
    protocol.finish(DONE)
    assert names(protocol.take_call("c1")) == ["a"]
    assert protocol.take_call("c2") is None
    protocol.checkpoint_accepted("t2")
    assert protocol.take_call("c2") == CompleteCall("t2", DONE)
    protocol.completed()
    assert protocol.closed


def test_a_revoked_turn_says_nothing_more_but_its_end() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    assert protocol.checkpoint_accepted_last() == (["a"], ["b"])
    assert protocol.take_call("c2") is None
    protocol.finish(Completion(CompletionStatus.PENDING))
    assert protocol.take_call("c3") == CompleteCall("t1", Completion(CompletionStatus.PENDING))


def test_an_end_that_rests_on_unrecorded_updates_becomes_a_suspension() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    protocol.finish(DONE)
    assert protocol.checkpoint_accepted_last() == (["a"], ["b"])
    assert protocol.take_call("c2") == CompleteCall("t1", Completion(CompletionStatus.PENDING))


def test_an_end_after_the_last_recorded_update_stands() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.finish(DONE)
    protocol.checkpoint_accepted_last()
    assert protocol.take_call("c2") == CompleteCall("t1", DONE)


def test_a_turn_that_passed_gives_every_ticket_back() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b"), update("c")], "b", urgent=False)
    assert protocol.close() == ["a", "b"]
    assert protocol.close() == []


def test_a_refused_call_keeps_the_token() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    assert protocol.refused() == ["a"]
    assert protocol.take_call("c2") == CheckpointCall("t1", "c2", (update("b"),))


def test_a_refused_end_can_be_replaced() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.finish(DONE)
    protocol.take_call("c1")
    protocol.refused()
    instead = Completion(CompletionStatus.ERROR)
    protocol.finish_instead(instead)
    assert protocol.take_call("c2") == CompleteCall("t1", instead)


def test_pages_are_fetched_before_anything_else() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1", "m1")
    assert protocol.take_call("c1") == StateCall("t1", "m1")
    protocol.page_received("m2")
    assert protocol.take_call("c2") == StateCall("t1", "m2")
    protocol.page_received("")
    assert protocol.phase is Phase.RUNNING
    assert protocol.take_call("c3") is None


def test_a_turn_is_handed_back_when_its_call_is_answered() -> None:
    protocol = submitted(("a", True))
    protocol.take_call("c1")
    protocol.submit([update("b")], "b", urgent=True)
    assert protocol.hand_back() == ["b"]
    assert protocol.take_returned_token() is None
    assert protocol.checkpoint_accepted("t2") == ["a"]
    assert protocol.take_returned_token() == "t2"
    assert protocol.closed


def test_a_turn_that_loads_is_handed_back_at_once() -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1", "m1")
    protocol.take_call("c1")
    protocol.hand_back()
    assert protocol.take_returned_token() == "t1"


@pytest.mark.parametrize("source", list(Phase))
@pytest.mark.parametrize("target", [Phase.ENDING, Phase.RETURNING])
def test_a_turn_moves_along_its_edges_only(source: Phase, target: Phase) -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.phase = source
    allowed = (source, target) in EDGES
    try:
        protocol.finish(DONE) if target is Phase.ENDING else protocol.hand_back()
    except AssertionError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize("source", list(Phase))
def test_a_turn_can_pass_from_everywhere(source: Phase) -> None:
    protocol: InvocationProtocol[str] = InvocationProtocol("t1")
    protocol.phase = source
    protocol.close()
    assert protocol.closed


ACTS = ["urgent", "lazy", "empty", "flush", "send", "again", "accept", "refuse"]


@given(st.lists(st.sampled_from(ACTS)), st.booleans())
def test_whatever_happens_order_is_kept_and_every_ticket_comes_back_once(
    acts: list[str], closes: bool
) -> None:
    protocol: InvocationProtocol[int] = InvocationProtocol("t0")
    numbers = itertools.count()
    given_out: list[int] = []
    came_back: list[int] = []
    recorded: list[str] = []
    unsent_refused: set[str] = set()
    for act in acts:
        number = next(numbers)
        call = protocol.unanswered
        match act:
            case "urgent" | "lazy":
                given_out.append(number)
                protocol.submit([update(f"u{number}")], number, urgent=act == "urgent")
            case "empty":
                given_out.append(number)
                protocol.submit([], number, urgent=True)
            case "flush":
                protocol.flush()
            case "send":
                protocol.take_call(f"c{number}")
            case "again":
                protocol.send_again()
            case "accept" if call is not None:
                recorded += names(call)
                came_back += protocol.checkpoint_accepted(f"t{number}")
            case "refuse" if call is not None:
                unsent_refused |= set(names(call))
                came_back += protocol.refused()
            case _:
                pass
    if closes:
        came_back += protocol.close()
    else:
        protocol.finish(DONE)
        while not isinstance(call := protocol.take_call("c") or protocol.unanswered, CompleteCall):
            recorded += names(call)
            came_back += protocol.checkpoint_accepted("t")
        expected = [f"u{n}" for n in given_out if f"u{n}" not in unsent_refused]
        assert [name for name in expected if name in recorded] == recorded
    assert came_back == given_out
