"""The turn: one call at a time, in order, all said before the end, and repeated unchanged."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_core.limits import CHECKPOINT_UPDATES_MAX
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.protocol import (
    CALL_BYTES_MAX,
    EDGES,
    CheckpointCall,
    CompleteCall,
    Completion,
    PageCall,
    Phase,
    Turn,
)

DONE = Completion("SUCCEEDED", result="1")


def update(name: str, size: int = 0) -> worker_pb2.OperationUpdate:
    return worker_pb2.OperationUpdate(
        id=name, type="STEP", action="SUCCEED", payload="x" * size if size else None
    )


def names(call: object) -> list[str]:
    assert isinstance(call, CheckpointCall)
    return [message.id for message in call.updates]


def submitted(*submissions: tuple[str, bool]) -> Turn[str]:
    """Return a running turn with one update for each (name, urgent), its name being the ticket."""
    turn: Turn[str] = Turn("t1")
    for name, urgent in submissions:
        turn.submit([update(name)], name, urgent=urgent)
    return turn


def test_updates_that_nobody_waits_for_linger_until_hurried() -> None:
    turn = submitted(("a", False))
    assert turn.lingers
    assert turn.take_call("c1") is None
    turn.hurry()
    assert names(turn.take_call("c1")) == ["a"]


def test_an_urgent_update_takes_along_what_lingers_before_it() -> None:
    turn = submitted(("a", False), ("b", True))
    assert turn.take_call("c1") == CheckpointCall("t1", "c1", (update("a"), update("b")))
    assert turn.checkpoint_accepted("t2") == ["a", "b"]


def test_one_call_is_unanswered_at_a_time_and_the_next_bears_the_new_token() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    assert turn.take_call("c2") is None
    turn.checkpoint_accepted("t2")
    assert turn.take_call("c2") == CheckpointCall("t2", "c2", (update("b"),))


def test_a_repeated_call_is_the_same_call() -> None:
    turn = submitted(("a", True))
    call = turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    turn.send_again()
    assert turn.take_call("c2") is call
    assert turn.take_call("c3") is None


def test_what_was_not_sent_is_not_sent_again() -> None:
    turn = submitted(("a", False))
    turn.send_again()
    assert turn.take_call("c1") is None


def test_an_empty_submission_refreshes() -> None:
    turn: Turn[str] = Turn("t1")
    turn.submit([], "refresh", urgent=True)
    assert turn.take_call("c1") == CheckpointCall("t1", "c1", ())
    assert turn.checkpoint_accepted("t2") == ["refresh"]


def test_a_call_holds_so_many_updates() -> None:
    turn: Turn[str] = Turn("t1")
    for n in range(CHECKPOINT_UPDATES_MAX + 1):
        turn.submit([update(f"u{n}")], f"s{n}", urgent=True)
    assert names(turn.take_call("c1")) == [f"u{n}" for n in range(CHECKPOINT_UPDATES_MAX)]
    assert len(turn.checkpoint_accepted("t2")) == CHECKPOINT_UPDATES_MAX
    assert names(turn.take_call("c2")) == [f"u{CHECKPOINT_UPDATES_MAX}"]
    assert turn.checkpoint_accepted("t3") == [f"s{CHECKPOINT_UPDATES_MAX}"]


def test_what_was_submitted_together_is_recorded_together() -> None:
    turn: Turn[str] = Turn("t1")
    half = CALL_BYTES_MAX // 2
    turn.submit([update("a")], "first", urgent=True)
    turn.submit([update("b", half), update("c", half), update("d", half)], "whole", urgent=True)
    turn.submit([update("e")], "last", urgent=True)
    assert names(turn.take_call("c1")) == ["a"]
    turn.checkpoint_accepted("t2")
    assert names(turn.take_call("c2")) == ["b", "c", "d"]
    assert turn.refused() == ["whole"]
    assert names(turn.take_call("c3")) == ["e"]


def test_a_whole_submission_does_not_share_a_call_that_would_hold_too_many() -> None:
    turn: Turn[str] = Turn("t1")
    turn.submit([update("a")], "first", urgent=True)
    turn.submit([update(f"u{n}") for n in range(CHECKPOINT_UPDATES_MAX)], "whole", urgent=True)
    assert names(turn.take_call("c1")) == ["a"]
    turn.checkpoint_accepted("t2")
    assert len(names(turn.take_call("c2"))) == CHECKPOINT_UPDATES_MAX


def test_a_full_call_does_not_linger() -> None:
    turn: Turn[str] = Turn("t1")
    turn.submit([update(f"u{n}") for n in range(CHECKPOINT_UPDATES_MAX)], "m", urgent=False)
    assert turn.ready


def test_a_call_holds_so_many_bytes_but_at_least_one_update() -> None:
    turn: Turn[str] = Turn("t1")
    turn.submit([update("large", CALL_BYTES_MAX + 1)], "large", urgent=True)
    turn.submit([update("small")], "small", urgent=False)
    assert names(turn.take_call("c1")) == ["large"]
    turn.checkpoint_accepted("t2")
    assert names(turn.take_call("c2")) == ["small"]


def test_the_end_comes_after_everything_submitted() -> None:
    turn = submitted(("a", False))
    turn.finish(DONE)
    assert names(turn.take_call("c1")) == ["a"]
    assert turn.take_call("c2") is None
    turn.checkpoint_accepted("t2")
    assert turn.take_call("c2") == CompleteCall("t2", DONE)
    turn.completed()
    assert turn.closed


def test_a_revoked_turn_says_nothing_more_but_its_end() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    assert turn.checkpoint_accepted_last() == (["a"], ["b"])
    assert turn.take_call("c2") is None
    turn.finish(Completion("PENDING"))
    assert turn.take_call("c3") == CompleteCall("t1", Completion("PENDING"))


def test_an_end_that_rests_on_unrecorded_updates_becomes_a_suspension() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    turn.finish(DONE)
    assert turn.checkpoint_accepted_last() == (["a"], ["b"])
    assert turn.take_call("c2") == CompleteCall("t1", Completion("PENDING"))


def test_an_end_after_the_last_recorded_update_stands() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.finish(DONE)
    turn.checkpoint_accepted_last()
    assert turn.take_call("c2") == CompleteCall("t1", DONE)


def test_a_turn_that_passed_gives_every_ticket_back() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b"), update("c")], "b", urgent=False)
    assert turn.close() == ["a", "b"]
    assert turn.close() == []


def test_a_refused_call_keeps_the_token() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    assert turn.refused() == ["a"]
    assert turn.take_call("c2") == CheckpointCall("t1", "c2", (update("b"),))


def test_a_refused_end_can_be_replaced() -> None:
    turn: Turn[str] = Turn("t1")
    turn.finish(DONE)
    turn.take_call("c1")
    turn.refused()
    instead = Completion("ERROR")
    turn.finish_instead(instead)
    assert turn.take_call("c2") == CompleteCall("t1", instead)


def test_pages_are_fetched_before_anything_else() -> None:
    turn: Turn[str] = Turn("t1", "m1")
    assert turn.take_call("c1") == PageCall("t1", "m1")
    turn.page_received("m2")
    assert turn.take_call("c2") == PageCall("t1", "m2")
    turn.page_received("")
    assert turn.phase is Phase.RUNNING
    assert turn.take_call("c3") is None


def test_a_turn_is_handed_back_when_its_call_is_answered() -> None:
    turn = submitted(("a", True))
    turn.take_call("c1")
    turn.submit([update("b")], "b", urgent=True)
    assert turn.hand_back() == ["b"]
    assert turn.take_returned_token() is None
    assert turn.checkpoint_accepted("t2") == ["a"]
    assert turn.take_returned_token() == "t2"
    assert turn.closed


def test_a_turn_that_loads_is_handed_back_at_once() -> None:
    turn: Turn[str] = Turn("t1", "m1")
    turn.take_call("c1")
    turn.hand_back()
    assert turn.take_returned_token() == "t1"


@pytest.mark.parametrize("source", list(Phase))
@pytest.mark.parametrize("target", [Phase.ENDING, Phase.RETURNING])
def test_a_turn_moves_along_its_edges_only(source: Phase, target: Phase) -> None:
    turn: Turn[str] = Turn("t1")
    turn.phase = source
    allowed = (source, target) in EDGES
    try:
        turn.finish(DONE) if target is Phase.ENDING else turn.hand_back()
    except AssertionError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize("source", list(Phase))
def test_a_turn_can_pass_from_everywhere(source: Phase) -> None:
    turn: Turn[str] = Turn("t1")
    turn.phase = source
    turn.close()
    assert turn.closed


ACTS = ["urgent", "lazy", "empty", "hurry", "send", "again", "accept", "refuse"]


@given(st.lists(st.sampled_from(ACTS)), st.booleans())
def test_whatever_happens_order_is_kept_and_every_ticket_comes_back_once(
    acts: list[str], closes: bool
) -> None:
    turn: Turn[int] = Turn("t0")
    numbers = itertools.count()
    given_out: list[int] = []
    came_back: list[int] = []
    recorded: list[str] = []
    unsent_refused: set[str] = set()
    for act in acts:
        number = next(numbers)
        call = turn.unanswered
        match act:
            case "urgent" | "lazy":
                given_out.append(number)
                turn.submit([update(f"u{number}")], number, urgent=act == "urgent")
            case "empty":
                given_out.append(number)
                turn.submit([], number, urgent=True)
            case "hurry":
                turn.hurry()
            case "send":
                turn.take_call(f"c{number}")
            case "again":
                turn.send_again()
            case "accept" if call is not None:
                recorded += names(call)
                came_back += turn.checkpoint_accepted(f"t{number}")
            case "refuse" if call is not None:
                unsent_refused |= set(names(call))
                came_back += turn.refused()
            case _:
                pass
    if closes:
        came_back += turn.close()
    else:
        turn.finish(DONE)
        while not isinstance(call := turn.take_call("c") or turn.unanswered, CompleteCall):
            recorded += names(call)
            came_back += turn.checkpoint_accepted("t")
        expected = [f"u{n}" for n in given_out if f"u{n}" not in unsent_refused]
        assert [name for name in expected if name in recorded] == recorded
    assert came_back == given_out
