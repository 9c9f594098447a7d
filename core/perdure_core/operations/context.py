"""The CONTEXT machine: a group of operations with an id space of its own.

    absent ──START──▶ STARTED ──SUCCEED──▶ SUCCEEDED
      ╰──(any close)─────┴──────FAIL────▶ FAILED

`replay_children` on a success: the result was too large to store, so a replay runs the body again
over its children.
"""

from typing import Final

from perdure_core.events import (
    AnyContextEvent,
    ContextEvent,
    ContextFailed,
    ContextStarted,
    ContextSucceeded,
    Subject,
)
from perdure_core.model import (
    ContextDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure_core.refusals import Invalid

EDGES: Final[dict[tuple[OperationStatus | None, type[ContextEvent]], OperationStatus]] = {
    (None, ContextStarted): OperationStatus.STARTED,
    (None, ContextSucceeded): OperationStatus.SUCCEEDED,
    (None, ContextFailed): OperationStatus.FAILED,
    (OperationStatus.STARTED, ContextSucceeded): OperationStatus.SUCCEEDED,
    (OperationStatus.STARTED, ContextFailed): OperationStatus.FAILED,
}


def decide_update(
    operation: Operation | None, update: OperationUpdate, subject: Subject
) -> AnyContextEvent:
    """Return the event that the update causes. Raises Invalid when the status forbids it."""
    event: AnyContextEvent
    match update.action:
        case OperationAction.START:
            event = ContextStarted(subject)
        case OperationAction.SUCCEED:
            event = ContextSucceeded(subject, update.payload, update.replay_children)
        case OperationAction.FAIL:
            event = ContextFailed(subject, update.error or ErrorObject())
        case OperationAction.RETRY | OperationAction.CANCEL | OperationAction.HEARTBEAT:
            raise Invalid(f"a CONTEXT cannot {update.action} (operation {update.id!r})")
    status = None if operation is None else operation.status
    if (status, type(event)) not in EDGES:
        raise Invalid(
            f"cannot {update.action} CONTEXT {update.id!r}: it is {status or 'not started'}"
        )
    return event


def apply(operation: Operation | None, event: AnyContextEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    status = EDGES[None if operation is None else operation.status, type(event)]
    if operation is None:
        operation = _begin(event.subject, at_ms)
    operation.status = status
    details = operation.details
    assert isinstance(details, ContextDetails)
    if isinstance(event, ContextSucceeded):
        details.result = event.result
        details.replay_children = event.replay_children
        operation.ended_ms = at_ms
    elif isinstance(event, ContextFailed):
        details.error = event.error
        operation.ended_ms = at_ms
    return operation


def _begin(subject: Subject, at_ms: int) -> Operation:
    return Operation(
        id=subject.id,
        type=OperationType.CONTEXT,
        status=OperationStatus.STARTED,
        started_ms=at_ms,
        details=ContextDetails(),
        parent_id=subject.parent_id,
        name=subject.name,
        sub_type=subject.sub_type,
    )
