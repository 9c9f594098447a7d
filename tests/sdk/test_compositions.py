"""Race, any_of and all_of: one value of several branches, and the others cancelled."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import (
    AnyOfError,
    CallbackTimeoutError,
    ChildContextError,
    DurableContext,
    ParallelBranch,
    StepContext,
    ValidationError,
)
from perdure.config import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    Duration,
    WaitForCallbackConfig,
)
from perdure.drivers import blocking_branches
from perdure.invocation.state import InvocationState
from perdure.operations.composition import FIELD_CHARS_MAX
from perdure.serdes import JsonSerDes, SerDes, SerDesContext
from perdure.serdes.error_records import DATA_BYTES_MAX
from perdure.worker_api import Failed, InvocationEnvironment, Pending, Succeeded
from perdure_core.commands import AlarmDue
from perdure_core.model import (
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure_core.state import Dispatch
from tests.sdk.hosted import Crash, Hosted, handler
from tests.sdk.scripted import Scripted, delivery

Body = Callable[[DurableContext], Any]
LARGE = "x" * 262_144


def hosted(body: Body, *crashes: Crash) -> Hosted:
    return Hosted(handler(lambda _, context: body(context)), crashes=crashes)


def nap(seconds: int, value: Any = None) -> Body:
    def body(context: DurableContext) -> Any:
        context.wait(Duration(seconds), f"nap {seconds}")
        return value

    return body


def failing(seconds: int, message: str = "no") -> Body:
    def body(context: DurableContext) -> Any:
        context.wait(Duration(seconds))
        raise LookupError(message)

    return body


def statuses(host: Hosted) -> dict[str | None, str]:
    return {each.name: each.status.value for each in host.state.operations.values()}


def ask_or_late(context: DurableContext) -> Any:
    return context.race(
        [
            lambda inner: inner.wait_for_callback(lambda _id, _context: None, "ask"),
            nap(3_600, "late"),
        ],
        "answer or deadline",
    )


def then_rest(context: DurableContext) -> Any:
    answer = ask_or_late(context)
    context.wait(Duration(5))
    return answer


def test_the_first_branch_to_end_decides_and_the_wait_of_the_other_is_cancelled() -> None:
    host = hosted(then_rest)
    host.run()
    host.succeed_callback("yes")
    assert host.run() == Pending()
    assert len(host.state.alarms) == 2  # of the deadline, and of what comes after the race
    assert statuses(host)["nap 3600"] == "CANCELLED"
    cancelled = host.history.index("WaitCancelled")
    assert host.history[cancelled - 1 : cancelled + 2] == [
        *("ContextSucceeded", "WaitCancelled", "ContextSucceeded"),
    ]
    (closing,) = [call for call in host.calls if call[0].action is OperationAction.CANCEL]
    assert [f"{update.action} {update.type}" for update in closing] == [
        *("CANCEL WAIT", "SUCCEED CONTEXT"),
    ]
    assert host.finish() == Succeeded('"yes"')
    assert host.now_ms == 1_005_000


def test_when_time_decides_a_late_answer_is_accepted_and_wakes_nothing() -> None:
    host = hosted(then_rest)
    host.run()
    host.pass_time()
    assert host.run() == Pending()
    host.succeed_callback("too late")
    assert host.state.dispatch is Dispatch.IDLE
    assert host.finish() == Succeeded('"late"')


def test_operations_are_named_after_their_kind_and_their_place() -> None:
    def body(context: DurableContext) -> None:
        two: list[Body | ParallelBranch[Any]] = [ParallelBranch[Any](nap(1), "mine"), nap(2)]
        context.race(two, "r")
        context.any_of(two, "a")
        context.all_of(two)

    host = hosted(body)
    host.finish()
    found = [
        (each.sub_type, each.name)
        for each in host.state.operations.values()
        if each.type is OperationType.CONTEXT
    ]
    assert sorted(found, key=str) == [
        ("AllOf", None),
        ("AllOfBranch", "all-of-branch-1"),
        ("AllOfBranch", "mine"),
        ("AnyOf", "a"),
        ("AnyOfBranch", "any-of-branch-1"),
        ("AnyOfBranch", "mine"),
        ("Race", "r"),
        ("RaceBranch", "mine"),
        ("RaceBranch", "race-branch-1"),
    ]


def caught(call: Callable[[DurableContext], Any]) -> Body:
    """Return a body that returns the error raised on the first run and on replay."""
    seen: list[list[Any]] = []

    def body(context: DurableContext) -> list[Any]:
        try:
            call(context)
        except ChildContextError as error:
            seen.append(
                [type(error).__name__, str(error), error.error_type, type(error.__cause__).__name__]
            )
        context.wait(Duration(1))
        assert all(each == seen[0] for each in seen)
        return seen[0]

    return body


def test_a_race_raises_when_the_first_branch_to_end_raises() -> None:
    host = hosted(caught(lambda context: context.race([failing(5), nap(9)])))
    assert host.finish() == Succeeded(
        '["ChildContextError", "no", "LookupError", "DurableOperationError"]'
    )
    assert statuses(host)["nap 9"] == "CANCELLED"


def test_the_error_of_an_operation_keeps_its_class_as_the_cause() -> None:
    def late(inner: DurableContext) -> Any:
        config = WaitForCallbackConfig(timeout=Duration(3))
        return inner.wait_for_callback(lambda _id, _context: None, "ask", config)

    host = hosted(caught(lambda context: context.race([late, nap(9)])))
    outcome = host.finish()
    assert isinstance(outcome, Succeeded)
    assert json.loads(str(outcome.result))[2:] == [
        "perdure.exceptions.CallbackTimeoutError",
        CallbackTimeoutError.__name__,
    ]


def test_any_of_takes_the_first_success_whatever_failed_before() -> None:
    host = hosted(lambda context: context.any_of([failing(1), nap(5, "five"), nap(9, "nine")]))
    assert host.finish() == Succeeded('"five"')
    assert host.now_ms == 1_005_000
    assert statuses(host)["nap 9"] == "CANCELLED"


def test_any_of_raises_one_error_with_all_errors_when_all_fail() -> None:
    seen: list[Any] = []

    def body(context: DurableContext) -> int:
        with pytest.raises(AnyOfError) as raised:
            context.any_of([failing(5, "first"), failing(1, "second")])
        error = raised.value
        seen.append((str(error), [(type(e), str(e), e.error_type) for e in error.errors]))
        context.wait(Duration(1))
        return len(error.errors)

    assert hosted(body).finish() == Succeeded("2")
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0] == (
        "None of 2 branches succeeded; the last of them failed with: second",
        [
            (ChildContextError, "first", "LookupError"),
            (ChildContextError, "second", "LookupError"),
        ],
    )


@pytest.mark.parametrize(("count", "length"), [(3, 100_000), (100, 1_000), (2_000, 500)])
def test_the_error_of_many_branches_stays_within_its_bound(count: int, length: int) -> None:
    errors = [ChildContextError("é" * length, "builtins.OSError") for _ in range(count)]
    error = AnyOfError.of(errors)
    assert len(str(error.data).encode()) <= DATA_BYTES_MAX
    assert 0 < len(error.errors) <= count
    assert all(len(str(each)) <= FIELD_CHARS_MAX for each in error.errors)
    assert f"{count:,} branches" in str(error)


def test_an_any_of_error_without_a_record_holds_no_errors() -> None:
    assert AnyOfError("gone", data="cut of…").errors == AnyOfError(data="[1]").errors == ()


def test_all_of_returns_the_values_in_the_order_of_the_branches() -> None:
    host = hosted(lambda context: context.all_of([nap(9, 1), nap(5, 2), lambda _: 3]))
    assert host.finish() == Succeeded("[1, 2, 3]")


def test_all_of_raises_the_first_failure_at_once_and_cancels_the_others() -> None:
    host = hosted(caught(lambda context: context.all_of([nap(60), failing(5), failing(7)])))
    outcome = host.finish()
    assert isinstance(outcome, Succeeded)
    assert host.now_ms == 1_006_000
    assert statuses(host)["nap 60"] == "CANCELLED"


@pytest.mark.parametrize("kind", ["race", "any_of"])
def test_a_race_without_branches_has_no_winner(kind: str) -> None:
    def body(context: DurableContext) -> int:
        with pytest.raises(ValidationError, match="must have at least one branch"):
            getattr(context, kind)([])
        return 1

    host = hosted(body)
    assert host.run() == Succeeded("1")
    assert host.calls == []


def test_all_of_nothing_is_nothing() -> None:
    assert hosted(lambda context: context.all_of(list[Body]())).run() == Succeeded("[]")


def test_all_that_waits_below_is_cancelled_however_deep() -> None:
    def begin(context: DurableContext, seconds: int) -> None:
        context.create_wait(Duration(seconds))

    def inner_race(context: DurableContext) -> Any:
        return context.race([nap(71), nap(80)])

    def deep(context: DurableContext) -> Any:
        context.create_wait(Duration(100), "beside")
        virtual = ChildConfig[Any](is_virtual=True)
        context.run_in_child_context(lambda inner: begin(inner, 90), None, virtual)
        return context.parallel([inner_race, inner_race])

    def body(context: DurableContext) -> Any:
        outside = context.create_wait(Duration(20), "outside")
        context.race([deep, nap(5)])
        outside.result()

    host = hosted(body)
    assert host.finish() == Succeeded("null")
    waits = [each for each in host.state.operations.values() if each.type is OperationType.WAIT]
    cancelled = [each for each in waits if each.status is OperationStatus.CANCELLED]
    assert len(waits) == 8
    assert len(cancelled) == 6
    assert host.now_ms == 1_020_000


def test_a_step_of_a_loser_sees_that_it_is_cancelled_and_records_nothing() -> None:
    started, noticed = threading.Event(), threading.Event()

    def slow(context: DurableContext) -> None:
        def body(step: StepContext) -> None:
            started.set()
            while not step.cancelled:
                noticed.wait(0.01)
            noticed.set()

        context.step(body, "slow")

    def quick(_: DurableContext) -> str:
        started.wait()
        return "quick"

    host = hosted(lambda context: context.race([slow, quick]))
    assert host.run() == Succeeded('"quick"')
    assert noticed.is_set()
    assert "StepSucceeded" not in host.history


def test_one_at_a_time_any_of_is_a_chain_of_fallbacks() -> None:
    config = BranchesConfig(max_concurrency=1)

    def body(context: DurableContext) -> Any:
        return context.any_of([failing(1), lambda _: "second", nap(5)], config=config)

    host = hosted(body)
    assert host.finish() == Succeeded('"second"')
    assert "any-of-branch-2" not in statuses(host)


@pytest.mark.parametrize("in_place", [1, 256])
def test_branches_that_are_parked_come_to_the_same_end(
    in_place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_branches, "IN_PLACE_MAX", in_place)
    host = hosted(lambda context: context.race([nap(9, 9), nap(5, 5), nap(7, 7)]))
    assert host.finish() == Succeeded("5")
    assert host.now_ms == 1_005_000


PROGRAMS: dict[str, Body] = {
    "race": lambda context: [
        context.race([nap(9, 9), nap(5, 5), nap(7)], "r"),
        context.all_of([nap(20)]),
    ],
    "failing race": caught(lambda context: context.race([nap(9), failing(5)])),
    "any_of": lambda context: context.any_of([failing(1), nap(5, "b"), nap(9)]),
    "all_of": lambda context: context.all_of([nap(5, "a"), lambda c: c.step(lambda _: "b")]),
    "failing all_of": caught(lambda context: context.all_of([nap(60), failing(5)])),
    "nested": lambda context: context.race(
        [lambda c: c.all_of([nap(3, 1), nap(4, 2)]), lambda c: c.any_of([nap(50), nap(60)])]
    ),
    "large": lambda context: [
        len(context.race([nap(9, "short"), nap(5, LARGE)])),
        context.all_of([nap(20)]),
        len(context.all_of([nap(9, LARGE), nap(5, "short")])[0]),
    ],
}


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_crash_at_any_checkpoint_changes_nothing(name: str, accepted: bool) -> None:
    whole = hosted(PROGRAMS[name])
    outcome = whole.finish()
    assert isinstance(outcome, Succeeded)
    assert "WaitStarted" in whole.history
    for number in range(1, len(whole.calls) + 1):
        host = hosted(PROGRAMS[name], Crash(number, accepted))
        assert host.finish() == outcome, f"crash at {number}"
        assert host.ends == whole.ends, f"crash at {number}"


def test_who_won_before_a_crash_wins_after_it_although_others_are_ready_by_then() -> None:
    host = hosted(
        lambda context: context.race([nap(9, "slow"), nap(5, "quick")], "r"),
        Crash(4, accepted=False),
    )
    host.run()
    host.pass_time()
    host.deliver()
    assert statuses(host) == {
        "r": "STARTED",
        "race-branch-0": "STARTED",
        "nap 9": "STARTED",
        "race-branch-1": "SUCCEEDED",
        "nap 5": "SUCCEEDED",
    }
    host.now_ms += 60_000
    host.command(AlarmDue())
    assert statuses(host)["nap 9"] == "SUCCEEDED"
    assert host.finish() == Succeeded('"quick"')
    assert statuses(host)["race-branch-0"] == "STARTED"


def test_a_wait_that_begins_while_the_race_is_decided_is_cancelled_too() -> None:
    state = InvocationState(InvocationEnvironment(delivery(), checkpoints := Scripted()))
    for id_, kind, parent_id in (
        ("race", OperationType.CONTEXT, None),
        ("branch", OperationType.CONTEXT, "race"),
        ("wait", OperationType.WAIT, "branch"),
        ("other", OperationType.WAIT, None),
    ):
        start = OperationUpdate(
            id=id_, type=kind, action=OperationAction.START, parent_id=parent_id
        )
        state.send(state.fibers.root, start)
    assert not any(future.done() for future in checkpoints.open)
    (cancellation,) = state.open_waits_of("race")
    assert (cancellation.id, cancellation.action) == ("wait", OperationAction.CANCEL)
    assert cancellation.parent_id == "branch"


@dataclass
class Answer:
    text: str


@dataclass
class Deadline:
    after: int


def answered(context: DurableContext) -> Answer:
    context.wait(Duration(5))
    return Answer("yes")


def overdue(context: DurableContext) -> Deadline:
    context.wait(Duration(7))
    return Deadline(7)


def untyped(context: DurableContext) -> Any:
    context.wait(Duration(9))


@pytest.mark.parametrize("others", [[overdue], [answered], [untyped, overdue]])
def test_the_value_is_of_the_type_that_its_branch_says(others: Sequence[Body]) -> None:
    def body(context: DurableContext) -> list[bool]:
        first = context.race([*others, answered])
        context.wait(Duration(1))
        both = context.all_of([*others, answered])
        context.wait(Duration(1))
        return [first == Answer("yes"), both[-1] == Answer("yes"), len(both) == len(others) + 1]

    assert hosted(body).finish() == Succeeded("[true, true, true]")


class Marked(SerDes[Any]):
    """JSON behind a mark."""

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        return self._mark + JsonSerDes().serialize(value, serdes_context)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        return JsonSerDes().deserialize(data.removeprefix(self._mark), serdes_context)


@pytest.mark.parametrize(
    ("config", "written"),
    [
        (BranchesConfig(serdes=Marked("!")), ["!1", "!1"]),
        (BranchesConfig(item_serdes=Marked("?")), ["?1", "?1"]),
        (BranchesConfig(serdes=Marked("!"), item_serdes=Marked("?")), ["?1", "!1"]),
    ],
)
def test_values_are_written_as_configured(config: BranchesConfig, written: list[str]) -> None:
    host = hosted(lambda context: context.race([lambda _: 1], config=config))
    assert host.run() == Succeeded("1")
    closes = [update for call in host.calls for update in call if update.payload is not None]
    assert [update.payload for update in closes] == written


def test_all_of_is_written_by_the_serdes_of_the_whole() -> None:
    config = BranchesConfig(serdes=Marked("!"), item_serdes=Marked("?"))
    host = hosted(lambda context: context.all_of([lambda _: 1, lambda _: 2], config=config))
    assert host.run() == Succeeded("[1, 2]")
    assert host.calls[-1][-1].payload == "![1, 2]"


def test_a_failure_that_concerns_more_than_a_branch_is_not_taken_for_its_end() -> None:
    def body(context: DurableContext) -> Any:
        return context.race([lambda _: context.wait(Duration(1)), nap(5)])

    outcome = hosted(body).finish()
    assert isinstance(outcome, Failed)
    assert "Use the context passed to" in str(outcome.error.message)


def test_a_callback_that_was_made_outside_is_raced_against_time() -> None:
    def body(context: DurableContext) -> Any:
        callback = context.create_callback("ask", CallbackConfig())
        return context.race([lambda _: callback.result(), nap(60, "late")])

    host = hosted(body)
    host.run()
    host.succeed_callback("yes")
    assert host.run() == Succeeded('"yes"')
