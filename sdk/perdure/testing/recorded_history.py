"""A recorded history as a handler is shown it, and the checkpoints that go no further.

What is recorded is answered; what is not suspends whoever asks, so that no step's body runs and no
wait begins. Events do not say that a context's result is to be made again from its children: an
empty result, and the summary of a batch, do.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from perdure.exceptions import SuspendExecution
from perdure.testing.event_documents import operation_event
from perdure.testing.failures import DurableFunctionsTestError
from perdure.testing.history import ExecutionHistory, HistoryEvent
from perdure.worker_api import CheckpointAnswer
from perdure_core import operations
from perdure_core.events import (
    AnyOperationEvent,
    ContextSucceeded,
    ExecutionStarted,
    Record,
    StepReady,
)
from perdure_core.fold import apply
from perdure_core.identity import parse_arn
from perdure_core.limits import EXECUTION_TIMEOUT_S_MAX, RETENTION_DAYS_DEFAULT
from perdure_core.model import (
    OPERATION_OPEN,
    ContextDetails,
    Operation,
    OperationStatus,
    OperationUpdate,
    StepDetails,
)
from perdure_core.refusals import Invalid
from perdure_core.state import State
from perdure_core.timestamps import to_epoch_ms


def recorded_state(history: ExecutionHistory) -> State:
    """Return what the events add up to.

    Raises `DurableFunctionsTestError` when they are not whole.
    """
    if any(event.truncated for event in history.events):
        raise DurableFunctionsTestError("The history was read without its payloads.")
    try:
        state = _begin(history)
        for form in history.events[1:]:
            event = operation_event(form)
            if event is not None:
                _fold(state, form, event)
    except (KeyError, AssertionError, Invalid) as error:
        raise DurableFunctionsTestError(f"The events do not add up: {error!r}") from error
    return state


def shown(operation: Operation) -> Operation:
    """Return an operation as the handler gets it.

    A step that is open waits, for who knows how long: its body must not run here.
    """
    details = operation.details
    if isinstance(details, StepDetails) and operation.status in OPERATION_OPEN:
        waiting = msgspec.structs.replace(details, next_attempt_ms=None)
        return msgspec.structs.replace(operation, status=OperationStatus.PENDING, details=waiting)
    return operation


def is_below_ended_context(state: State, operation: Operation) -> bool:
    """Tell whether a context around the operation has ended: then nobody may ask for it again."""
    parent_id = operation.parent_id
    while parent_id is not None:
        parent = state.operations[parent_id]
        if parent.status not in OPERATION_OPEN:
            return True
        parent_id = parent.parent_id
    return False


class RecordedCheckpoints:
    """Records nothing, and suspends whoever asks for more than is recorded."""

    def __init__(self) -> None:
        self.beyond: list[OperationUpdate] = []

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        del listener  # there is never any news

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> Future[None]:
        del urgent
        if updates:
            self.beyond += updates
            raise SuspendExecution("The recorded history ends here.")
        future: Future[None] = Future()
        future.set_result(None)
        return future


def _begin(history: ExecutionHistory) -> State:
    first = history.events[0] if history.events else None
    if first is None or first.event_type != "ExecutionStarted":
        raise DurableFunctionsTestError("The history does not begin with ExecutionStarted.")
    identity = parse_arn(history.execution_arn)
    started = ExecutionStarted(
        namespace=identity.namespace,
        function=identity.function,
        name=identity.name,
        execution_id=identity.execution_id,
        timeout_s=first.execution_timeout_seconds or EXECUTION_TIMEOUT_S_MAX,
        retention_days=RETENTION_DAYS_DEFAULT,
        input=first.input,
    )
    return apply(None, Record(to_epoch_ms(first.event_timestamp), (started,)))


def _fold(state: State, form: HistoryEvent, event: AnyOperationEvent) -> None:
    """Fold the operation's part of an event: whose turn it was is not public."""
    at_ms = to_epoch_ms(form.event_timestamp)
    operation = state.operations.get(event.subject.id)
    if operation is not None and operation.status is OperationStatus.PENDING:
        operation = operations.apply(operation, StepReady(event.subject), at_ms)
    operation = operations.apply(operation, event, at_ms)
    state.operations[operation.id] = operation
    if isinstance(event, ContextSucceeded):
        assert isinstance(operation.details, ContextDetails)
        operation.details.replay_children = form.replay_children
