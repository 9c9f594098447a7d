"""The STEP machine: attempts of a unit of work, and polls of a condition.

                        ╭── HEARTBEAT
                        │ ◀╯
    absent ──START──▶ STARTED ──SUCCEED──▶ SUCCEEDED
      │                 │  ▲ ╰──FAIL─────▶ FAILED
      │               RETRY│
      │                 ▼  START
      ╰─(any close)   PENDING ──due──▶ READY ──(START, or any close)

A close (SUCCEED, FAIL, RETRY) is accepted from absent, STARTED and READY: a worker may know the
outcome of an attempt before it reported that the attempt began. RETRY with an error is a failed
attempt (StepFailed with a delay); RETRY with a payload is a poll whose condition does not hold yet
(StepSucceeded with a delay), and the payload is the state for the next poll. Source of the rules:
Lambda durable functions, checkpoint validation of STEP; HEARTBEAT exists in Perdure only.
"""

from typing import Final, Literal, assert_never

from perdure_core.events import (
    AnyStepEvent,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepStarted,
    StepSucceeded,
    Subject,
)
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)
from perdure_core.refusals import Invalid

Edge = Literal["started", "succeeded", "failed", "polled", "retried", "ready", "alive"]

_OPEN: Final = (None, OperationStatus.STARTED, OperationStatus.READY)

EDGES: Final[dict[tuple[OperationStatus | None, Edge], OperationStatus]] = {
    (None, "started"): OperationStatus.STARTED,
    (OperationStatus.READY, "started"): OperationStatus.STARTED,
    **{(status, "succeeded"): OperationStatus.SUCCEEDED for status in _OPEN},
    **{(status, "failed"): OperationStatus.FAILED for status in _OPEN},
    **{(status, "polled"): OperationStatus.PENDING for status in _OPEN},
    **{(status, "retried"): OperationStatus.PENDING for status in _OPEN},
    (OperationStatus.PENDING, "ready"): OperationStatus.READY,
    (OperationStatus.STARTED, "alive"): OperationStatus.STARTED,
}


def decide_update(
    operation: Operation | None, update: OperationUpdate, subject: Subject
) -> AnyStepEvent:
    """Return the event that the update causes. Raises Invalid when the status forbids it."""
    event = _event_of(operation, update, subject)
    status = None if operation is None else operation.status
    if (status, edge_of(event)) not in EDGES:
        raise Invalid(f"cannot {update.action} STEP {update.id!r}: it is {status or 'not started'}")
    return event


def decide_due(subject: Subject) -> AnyStepEvent:
    """Return the event of a delay that is over."""
    return StepReady(subject)


def apply(operation: Operation | None, event: AnyStepEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    status = EDGES[None if operation is None else operation.status, edge_of(event)]
    if operation is None:
        operation = _begin(event.subject, at_ms)
    operation.status = status
    details = operation.details
    assert isinstance(details, StepDetails)
    match event:
        case StepStarted():
            details.next_attempt_ms = None
            details.attempt_started_ms = at_ms
        case StepReady():
            details.next_attempt_ms = None
        case StepHeartbeat():
            details.heartbeat = event.details
            details.heartbeat_ms = at_ms
        case StepSucceeded():
            details.result = event.result
            details.error = None
            _close_attempt(operation, details, event.next_attempt_delay_ms, at_ms)
        case StepFailed():
            details.result = None
            details.error = event.error
            _close_attempt(operation, details, event.next_attempt_delay_ms, at_ms)
        case _:  # pragma: no cover - the family is closed
            raise AssertionError(event)
    return operation


def due_ms(operation: Operation) -> int | None:
    """Return when time alone will change the step."""
    assert isinstance(operation.details, StepDetails)
    return operation.details.next_attempt_ms


def edge_of(event: AnyStepEvent) -> Edge:
    """Return the name of the edge that the event takes."""
    match event:
        case StepStarted():
            return "started"
        case StepReady():
            return "ready"
        case StepHeartbeat():
            return "alive"
        case StepSucceeded():
            return "succeeded" if event.next_attempt_delay_ms is None else "polled"
        case StepFailed():
            return "failed" if event.next_attempt_delay_ms is None else "retried"
        case _:  # pragma: no cover - the family is closed
            raise AssertionError(event)


def _event_of(
    operation: Operation | None, update: OperationUpdate, subject: Subject
) -> AnyStepEvent:
    attempt = 1
    if operation is not None:
        assert isinstance(operation.details, StepDetails)
        attempt = operation.details.attempt + 1
    match update.action:
        case OperationAction.START:
            return StepStarted(subject)
        case OperationAction.SUCCEED:
            return StepSucceeded(subject, attempt, update.payload, duration_ms=update.duration_ms)
        case OperationAction.FAIL:
            return StepFailed(
                subject, attempt, update.error or ErrorObject(), duration_ms=update.duration_ms
            )
        case OperationAction.RETRY:
            return _retry(update, subject, attempt)
        case OperationAction.HEARTBEAT:
            return StepHeartbeat(subject, update.payload)
        case OperationAction.CANCEL:
            raise Invalid(f"a STEP cannot CANCEL (operation {update.id!r})")
        case _:
            assert_never(update.action)


def _retry(update: OperationUpdate, subject: Subject, attempt: int) -> AnyStepEvent:
    delay_ms = update.next_attempt_delay_ms
    if delay_ms is None:
        raise Invalid(f"RETRY of STEP {update.id!r} needs step options with a delay")
    if update.error is not None:
        return StepFailed(subject, attempt, update.error, delay_ms, update.duration_ms)
    return StepSucceeded(subject, attempt, update.payload, delay_ms, update.duration_ms)


def _begin(subject: Subject, at_ms: int) -> Operation:
    return Operation(
        id=subject.id,
        type=OperationType.STEP,
        status=OperationStatus.STARTED,
        started_ms=at_ms,
        details=StepDetails(),
        parent_id=subject.parent_id,
        name=subject.name,
        sub_type=subject.sub_type,
    )


def _close_attempt(
    operation: Operation, details: StepDetails, delay_ms: int | None, at_ms: int
) -> None:
    details.attempt += 1
    details.attempt_started_ms = None
    details.heartbeat_ms = None
    if delay_ms is None:
        details.heartbeat = None
        operation.ended_ms = at_ms
        details.next_attempt_ms = None
    else:
        details.next_attempt_ms = at_ms + delay_ms
