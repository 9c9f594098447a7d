"""The WAIT machine: a durable timer.

    absent ──START──▶ STARTED ──due────▶ SUCCEEDED
                         ╰──CANCEL──▶ CANCELLED

Never early: it succeeds at the first check at or after its scheduled end. A CANCEL of a wait that
is over changes nothing: the worker cannot know that its time comes meanwhile.
"""

from typing import Final

from perdure_core.events import (
    AnyWaitEvent,
    Subject,
    WaitCancelled,
    WaitEvent,
    WaitStarted,
    WaitSucceeded,
)
from perdure_core.model import (
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    WaitDetails,
)
from perdure_core.refusals import Invalid

EDGES: Final[dict[tuple[OperationStatus | None, type[WaitEvent]], OperationStatus]] = {
    (None, WaitStarted): OperationStatus.STARTED,
    (OperationStatus.STARTED, WaitSucceeded): OperationStatus.SUCCEEDED,
    (OperationStatus.STARTED, WaitCancelled): OperationStatus.CANCELLED,
}


def decide_update(
    operation: Operation | None, update: OperationUpdate, subject: Subject, now_ms: int
) -> AnyWaitEvent | None:
    """Return the event that the update causes, if it causes any.

    Raises Invalid when the status forbids the update.
    """
    status = None if operation is None else operation.status
    event: AnyWaitEvent
    match update.action:
        case OperationAction.START:
            if update.wait_ms is None:
                raise Invalid(f"START of WAIT {update.id!r} needs wait options with a duration")
            event = WaitStarted(subject, update.wait_ms, now_ms + update.wait_ms)
        case OperationAction.CANCEL:
            if status in (OperationStatus.SUCCEEDED, OperationStatus.CANCELLED):
                return None
            event = WaitCancelled(subject, update.error)
        case (
            OperationAction.SUCCEED
            | OperationAction.FAIL
            | OperationAction.RETRY
            | OperationAction.HEARTBEAT
        ):
            raise Invalid(f"a WAIT cannot {update.action} (operation {update.id!r})")
    if (status, type(event)) not in EDGES:
        raise Invalid(f"cannot {update.action} WAIT {update.id!r}: it is {status or 'not started'}")
    return event


def decide_due(operation: Operation, subject: Subject) -> AnyWaitEvent:
    """Return the event of a timer that came due."""
    assert isinstance(operation.details, WaitDetails)
    return WaitSucceeded(subject, operation.details.duration_ms)


def apply(operation: Operation | None, event: AnyWaitEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    status = EDGES[None if operation is None else operation.status, type(event)]
    if isinstance(event, WaitStarted):
        return Operation(
            id=event.subject.id,
            type=OperationType.WAIT,
            status=status,
            started_ms=at_ms,
            details=WaitDetails(event.duration_ms, event.scheduled_end_ms),
            parent_id=event.subject.parent_id,
            name=event.subject.name,
            sub_type=event.subject.sub_type,
        )
    assert operation is not None
    operation.status = status
    operation.ended_ms = at_ms
    return operation


def due_ms(operation: Operation) -> int | None:
    """Return when time alone will change the wait."""
    assert isinstance(operation.details, WaitDetails)
    if operation.status is not OperationStatus.STARTED:
        return None
    return operation.details.scheduled_end_ms
