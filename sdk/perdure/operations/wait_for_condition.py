"""The rules of waiting for a condition: a check that is polled, each time with its last state.

    no record ── START ──> STARTED ── SUCCEED ──> SUCCEEDED      the strategy stops polling
                             │  └─── FAIL ──────> FAILED         the check or the strategy raised
                           RETRY                                 the strategy goes on
                             v
                          PENDING ── due ──> READY ── START ──> STARTED …

It is a STEP whose RETRY carries the state. A check that raises is not tried again. Semantics are
those of the AWS Lambda durable execution SDK for Python 3.0 (operation.wait_for_condition).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from perdure.exceptions import ExecutionError, InvocationError, WaitForConditionError
from perdure.operations.identity import Identity
from perdure.operations.program import (
    Program,
    Replayed,
    ReplayEnded,
    Run,
    Send,
    StepFinished,
    commit,
    suspend,
)
from perdure.operations.step import attempt_number, check_size, step_details
from perdure.operations.stopwatch import Stopwatch
from perdure.primitives.user_code import raised_error
from perdure.serdes.error_records import error_record, operation_error
from perdure.serdes.serializers import Payloads
from perdure.settings.retry_strategies import delay_ms
from perdure.settings.wait_strategies import WaitForConditionDecision
from perdure_core.model import (
    OPERATION_OPEN,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
)
from perdure_core.payload import text_of


@dataclass(frozen=True)
class ConditionPlan:
    """The settings of a polled check: its first state, its wait strategy, and a clock."""

    initial_state: Any
    wait_strategy: Callable[[Any, int], WaitForConditionDecision]
    payloads: Payloads
    monotonic_ms: Callable[[], int]


def wait_for_condition(
    identity: Identity,
    recorded: Operation | None,
    plan: ConditionPlan,
    check: Callable[[int, Any], Any],
) -> Program[Any]:
    """Return the state at which the strategy stopped; raise `WaitForConditionError` otherwise.

    Raises `SerDesError` when a state could not be written or read.

    `check` is called with the number of the attempt and the state.
    """
    operation = recorded
    payload = _state(recorded)
    while operation is None or operation.status in OPERATION_OPEN:
        if operation is not None and operation.status is OperationStatus.PENDING:
            due_ms = step_details(operation).next_attempt_ms
            operation = yield from suspend(operation, f"{identity.describe()} polls", due_ms)
            continue
        yield ReplayEnded()
        if operation is None or operation.status is not OperationStatus.STARTED:
            yield Send(identity.update(OperationAction.START))
        attempt = attempt_number(operation)
        watch = Stopwatch(plan.monotonic_ms)
        try:
            body = partial(check, attempt)
            payload, state = yield from _poll(identity, plan, body, payload, watch)
            decision = plan.wait_strategy(state, attempt)
        except ExecutionError:
            raise
        except Exception as error:
            if isinstance(error, InvocationError) and error.is_retryable():
                raise
            return (yield from _fail(identity, error_record(raised_error(error)), watch))
        if not decision.should_continue:
            took_ms = watch.body_ms
            success = identity.update(OperationAction.SUCCEED, payload=payload, duration_ms=took_ms)
            yield from commit(success)
            yield StepFinished("succeeded")
            # The strategy may have changed the state that it received.
            return plan.payloads.read(payload)
        operation = yield from _retry(identity, payload, delay_ms(decision.delay), watch)
    yield Replayed()
    details = step_details(operation)
    if operation.status is OperationStatus.SUCCEEDED:
        return plan.payloads.read(text_of(details.result))
    raise operation_error(WaitForConditionError, details.error)


def _poll(
    identity: Identity,
    plan: ConditionPlan,
    check: Callable[[Any], Any],
    payload: str | None,
    watch: Stopwatch,
) -> Program[tuple[str | None, Any]]:
    """Check once. Its argument and its value have made the round trip of a replay."""
    recorded = plan.payloads.write(plan.initial_state) if payload is None else payload
    check_once = partial(check, plan.payloads.read(recorded))
    with watch:
        state = yield Run(check_once)
    payload = plan.payloads.write(state)
    check_size(identity, payload)
    return payload, plan.payloads.read(payload)


def _retry(
    identity: Identity, payload: str | None, delay: int, watch: Stopwatch
) -> Program[Operation]:
    retry = identity.update(
        OperationAction.RETRY,
        payload=payload,
        next_attempt_delay_ms=delay,
        duration_ms=watch.body_ms,
    )
    operation = yield from commit(retry)
    yield StepFinished("retried")
    return operation


def _fail(identity: Identity, failure: ErrorObject, watch: Stopwatch) -> Program[Any]:
    took_ms = watch.body_ms
    yield from commit(identity.update(OperationAction.FAIL, error=failure, duration_ms=took_ms))
    yield StepFinished("failed")
    raise operation_error(WaitForConditionError, failure)


def _state(recorded: Operation | None) -> str | None:
    if recorded is None or not step_details(recorded).attempt:
        return None
    return text_of(step_details(recorded).result)
