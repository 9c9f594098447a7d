"""The CHAINED_INVOKE machine: another function, run as an execution of its own.

    absent ──START──▶ STARTED ──child ended──▶ SUCCEEDED | FAILED | TIMED_OUT | STOPPED

A target that does not exist fails in the very decision that started it (ResourceNotFoundException).
The child's end arrives through the outbox, possibly more than once: only the first changes
anything.
"""

from typing import Final, assert_never

from perdure_core.commands import ChildEnded
from perdure_core.events import (
    AnyChainedInvokeEvent,
    ChainedInvokeEvent,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    Subject,
)
from perdure_core.identity import ExecutionIdentity, arn_of
from perdure_core.model import (
    ChainedInvokeDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure_core.refusals import Invalid

EDGES: Final[dict[tuple[OperationStatus | None, type[ChainedInvokeEvent]], OperationStatus]] = {
    (None, ChainedInvokeStarted): OperationStatus.STARTED,
    (OperationStatus.STARTED, ChainedInvokeSucceeded): OperationStatus.SUCCEEDED,
    (OperationStatus.STARTED, ChainedInvokeFailed): OperationStatus.FAILED,
    (OperationStatus.STARTED, ChainedInvokeTimedOut): OperationStatus.TIMED_OUT,
    (OperationStatus.STARTED, ChainedInvokeStopped): OperationStatus.STOPPED,
}


def decide_update(
    operation: Operation | None,
    update: OperationUpdate,
    subject: Subject,
    child: ExecutionIdentity | None,
) -> tuple[AnyChainedInvokeEvent, ...]:
    """Return the events that the update causes; `child` is None when the target does not exist.

    Raises Invalid when the status forbids it.
    """
    if update.action is not OperationAction.START:
        raise Invalid(f"a CHAINED_INVOKE cannot {update.action} (operation {update.id!r})")
    if operation is not None:
        raise Invalid(f"cannot START CHAINED_INVOKE {update.id!r}: it is {operation.status}")
    assert update.function is not None
    started = ChainedInvokeStarted(
        subject,
        update.function,
        None if child is None else arn_of(child),
        update.payload,
        update.tenant_id,
    )
    if child is not None:
        return (started,)
    missing = ErrorObject(f"Function not found: {update.function}", "ResourceNotFoundException")
    return (started, ChainedInvokeFailed(subject, missing))


def decide_ended(
    operation: Operation, ended: ChildEnded, subject: Subject
) -> AnyChainedInvokeEvent | None:
    """Return the event of the child's end, or None when it is known already."""
    if operation.status is not OperationStatus.STARTED:
        return None
    error = ended.error or ErrorObject()
    match ended.status:
        case "SUCCEEDED":
            return ChainedInvokeSucceeded(subject, ended.result)
        case "FAILED":
            return ChainedInvokeFailed(subject, error)
        case "TIMED_OUT":
            return ChainedInvokeTimedOut(subject, error)
        case "STOPPED":
            return ChainedInvokeStopped(subject, error)
        case _:
            assert_never(ended.status)


def apply(operation: Operation | None, event: AnyChainedInvokeEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    status = EDGES[None if operation is None else operation.status, type(event)]
    if isinstance(event, ChainedInvokeStarted):
        return Operation(
            id=event.subject.id,
            type=OperationType.CHAINED_INVOKE,
            status=status,
            started_ms=at_ms,
            details=ChainedInvokeDetails(event.function, event.execution_arn),
            parent_id=event.subject.parent_id,
            name=event.subject.name,
            sub_type=event.subject.sub_type,
        )
    assert operation is not None
    details = operation.details
    assert isinstance(details, ChainedInvokeDetails)
    operation.status = status
    operation.ended_ms = at_ms
    if isinstance(event, ChainedInvokeSucceeded):
        details.result = event.result
    else:
        details.error = event.error
    return operation
