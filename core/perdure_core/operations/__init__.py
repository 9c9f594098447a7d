"""State machines of operations, one module each: apply an event, find a due time, decide it."""

from typing import Final, Literal

from perdure_core.events import (
    AnyOperationEvent,
    CallbackEvent,
    ContextEvent,
    StepEvent,
    Subject,
    WaitEvent,
)
from perdure_core.model import (
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
    WaitDetails,
)
from perdure_core.operations import callback, chained_invoke, context, step, wait
from perdure_core.payload import bytes_of
from perdure_core.validation import error_bytes

# An open operation waits for time, an outside caller, or a child execution.
Pending = Literal["timed", "callback", "child"]

_PENDING: Final[dict[tuple[OperationType, OperationStatus], Pending]] = {
    (OperationType.STEP, OperationStatus.PENDING): "timed",
    (OperationType.WAIT, OperationStatus.STARTED): "timed",
    (OperationType.CALLBACK, OperationStatus.STARTED): "callback",
    (OperationType.CHAINED_INVOKE, OperationStatus.STARTED): "child",
}


def apply(operation: Operation | None, event: AnyOperationEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    match event:
        case StepEvent():
            return step.apply(operation, event, at_ms)
        case WaitEvent():
            return wait.apply(operation, event, at_ms)
        case ContextEvent():
            return context.apply(operation, event, at_ms)
        case CallbackEvent():
            return callback.apply(operation, event, at_ms)
        case _:
            return chained_invoke.apply(operation, event, at_ms)


def due_ms(operation: Operation) -> int | None:
    """Return when time alone will change the operation, if ever."""
    match operation.type:
        case OperationType.STEP:
            return step.due_ms(operation)
        case OperationType.WAIT:
            return wait.due_ms(operation)
        case OperationType.CALLBACK:
            return callback.due_ms(operation)
        case OperationType.CONTEXT | OperationType.CHAINED_INVOKE | OperationType.EXECUTION:
            return None


def decide_due(operation: Operation) -> AnyOperationEvent:
    """Return the event of a due time that has passed."""
    subject = subject_of(operation)
    match operation.type:
        case OperationType.STEP:
            return step.decide_due(subject)
        case OperationType.WAIT:
            return wait.decide_due(operation, subject)
        case OperationType.CALLBACK:
            return callback.decide_due(operation, subject)
        case OperationType.CONTEXT | OperationType.CHAINED_INVOKE | OperationType.EXECUTION:
            raise AssertionError(operation)


def pending(operation: Operation) -> Pending | None:
    """Return what the operation waits for outside any invocation."""
    return _PENDING.get((operation.type, operation.status))


def outcome_bytes(operation: Operation) -> int:
    """Return the size of the operation's result and error, in bytes of UTF-8."""
    details = operation.details
    if isinstance(details, ExecutionDetails | WaitDetails):
        return 0
    error = 0 if details.error is None else error_bytes(details.error)
    return bytes_of(details.result) + error


def subject_of(operation: Operation) -> Subject:
    """Return how events name the operation."""
    return Subject(operation.id, operation.name, operation.sub_type, operation.parent_id)
