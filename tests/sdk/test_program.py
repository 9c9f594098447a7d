"""Programs yield effects; a driver that waits in place gets the same results as a replay."""

from collections.abc import Iterator
from typing import Any

import pytest

from perdure.config import CallbackConfig, Duration, StepSemantics
from perdure.exceptions import CallbackError, InvocationError
from perdure.operations.attempt import Attempt, AttemptClock
from perdure.operations.callback import callback_result, create_callback
from perdure.operations.heartbeats import HeartbeatPlan
from perdure.operations.identity import Identity
from perdure.operations.program import (
    Commit,
    Effect,
    Program,
    Replayed,
    ReplayEnded,
    Resumed,
    Run,
    Send,
    StepFinished,
    Suspend,
)
from perdure.operations.step import StepPlan, step
from perdure.operations.wait import wait
from perdure.retries import RetryPresets
from perdure.serdes.serializers import JsonSerDes, Payloads, SerDesContext
from perdure_core.model import (
    CallbackDetails,
    Details,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
)

PLAN = StepPlan(
    semantics=StepSemantics.AT_LEAST_ONCE_PER_RETRY,
    retry_strategy=RetryPresets.fixed(Duration(2)),
    payloads=Payloads(JsonSerDes(), SerDesContext()),
    clock=AttemptClock(lambda: 0, lambda: 0, lambda _: 0, lambda: False),
    heartbeats=HeartbeatPlan(Payloads(JsonSerDes(), SerDesContext()), lambda _: None),
)


def identity(kind: OperationType, sub_type: str) -> Identity:
    return Identity(number=1, id="ab", type=kind, sub_type=sub_type, name="it")


STEP = identity(OperationType.STEP, "Step")
WAIT = identity(OperationType.WAIT, "Wait")
CALLBACK = identity(OperationType.CALLBACK, "Callback")


def operation(of: Identity, status: OperationStatus, details: Details) -> Operation:
    return Operation(id=of.id, type=of.type, status=status, started_ms=0, details=details)


def performed(program: Program[Any], answers: list[Operation]) -> tuple[list[Effect], Any]:
    """Perform the effects of `program` as a driver that waits; return them, and the value."""
    effects: list[Effect] = []
    remaining: Iterator[Operation] = iter(answers)
    answer: Any = None
    failure: Exception | None = None
    while True:
        try:
            effect = program.send(answer) if failure is None else program.throw(failure)
        except StopIteration as stop:
            return effects, stop.value
        effects.append(effect)
        answer = failure = None
        if isinstance(effect, Commit | Suspend):
            answer = next(remaining)
        elif isinstance(effect, Run):
            try:
                answer = effect.body()
            except OSError as error:
                failure = error


def flaky(attempt: Attempt) -> str:
    if attempt.number == 1:
        raise OSError("first")
    return f"attempt {attempt.number}"


def test_a_step_is_retried_in_place_by_a_shell_that_can_wait() -> None:
    pending = operation(STEP, OperationStatus.PENDING, StepDetails(1, 5_000))
    ready = operation(STEP, OperationStatus.READY, StepDetails(1))
    succeeded = operation(STEP, OperationStatus.SUCCEEDED, StepDetails(2))
    effects, value = performed(step(STEP, None, PLAN, flaky), [pending, ready, succeeded])
    assert value == "attempt 2"
    assert [type(effect) for effect in effects] == [
        *(ReplayEnded, Send, Run, Commit, StepFinished),
        Suspend,
        *(ReplayEnded, Send, Run, Commit, StepFinished),
    ]
    assert effects[5] == Suspend("ab", OperationStatus.PENDING, "STEP (Step) 'it' retries", 5_000)
    committed = [effect.update.action for effect in effects if isinstance(effect, Commit)]
    assert committed == [OperationAction.RETRY, OperationAction.SUCCEED]


def test_a_wait_goes_on_in_place_when_a_shell_can_wait() -> None:
    started = operation(WAIT, OperationStatus.STARTED, WaitDetails(5_000, 9_000))
    succeeded = operation(WAIT, OperationStatus.SUCCEEDED, WaitDetails(5_000, 9_000))
    effects, _ = performed(wait(WAIT, None, 5_000), [started, started, succeeded])
    assert effects == [
        ReplayEnded(),
        Commit(WAIT.update(OperationAction.START, wait_ms=5_000)),
        Suspend("ab", OperationStatus.STARTED, "WAIT (Wait) 'it' runs", 9_000),
        Suspend("ab", OperationStatus.STARTED, "WAIT (Wait) 'it' runs", 9_000),
        Resumed(),
    ]


def test_a_callback_is_awaited_in_place_by_a_shell_that_can_wait() -> None:
    started = operation(CALLBACK, OperationStatus.STARTED, CallbackDetails("secret"))
    done = operation(CALLBACK, OperationStatus.SUCCEEDED, CallbackDetails("secret", result="yes"))
    effects, value = performed(callback_result(CALLBACK, started), [done])
    assert value == "yes"
    assert effects == [
        Suspend("ab", OperationStatus.STARTED, "CALLBACK (Callback) 'it' is open"),
        Resumed(),
    ]


@pytest.mark.parametrize("status", [OperationStatus.CANCELLED, OperationStatus.STOPPED])
def test_a_callback_that_ended_in_no_usual_way_raises_the_general_error(
    status: OperationStatus,
) -> None:
    ended = operation(CALLBACK, status, CallbackDetails("secret"))
    with pytest.raises(CallbackError):
        performed(callback_result(CALLBACK, ended), [])


def test_a_recorded_operation_asks_for_nothing() -> None:
    started = operation(CALLBACK, OperationStatus.STARTED, CallbackDetails("secret"))
    assert performed(create_callback(CALLBACK, started, CallbackConfig()), []) == (
        [Replayed()],
        "secret",
    )
    succeeded = operation(STEP, OperationStatus.SUCCEEDED, StepDetails(1, result="7"))
    assert performed(step(STEP, succeeded, PLAN, flaky), []) == ([Replayed()], 7)


def test_a_record_of_the_wrong_shape_breaks_the_invocation() -> None:
    odd = operation(STEP, OperationStatus.SUCCEEDED, WaitDetails(1, 1))
    with pytest.raises(InvocationError):
        performed(step(STEP, odd, PLAN, flaky), [])
    with pytest.raises(InvocationError):
        performed(create_callback(CALLBACK, odd, CallbackConfig()), [])
