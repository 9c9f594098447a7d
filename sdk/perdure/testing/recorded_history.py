"""State of a recorded history, as a replay needs it, and checkpoints that record nothing.

Recorded operations are answered; any other one suspends the handler, so that no step's body runs
and no wait starts. Events do not tell that a context's result must be rebuilt from its children: an
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
    """Return the state that the events lead to.

    Raises `DurableFunctionsTestError` when they are incomplete.
    """
    if any(event.truncated for event in history.events):
        raise DurableFunctionsTestError("history must contain payloads. Export it with its data.")
    try:
        state = _begin(history)
        for form in history.events[1:]:
            event = operation_event(form)
            if event is not None:
                _fold(state, form, event)
    except (KeyError, AssertionError, Invalid) as error:
        raise DurableFunctionsTestError(
            f"events of the history are inconsistent: {error!r}"
        ) from error
    return state


def as_replayed(operation: Operation) -> Operation:
    """Return an operation as the handler receives it.

    An open step is pending without a time, so that its body does not run here.
    """
    details = operation.details
    if isinstance(details, StepDetails) and operation.status in OPERATION_OPEN:
        waiting = msgspec.structs.replace(details, next_attempt_ms=None)
        return msgspec.structs.replace(operation, status=OperationStatus.PENDING, details=waiting)
    return operation


def is_below_ended_context(state: State, operation: Operation) -> bool:
    """Return whether a context around the operation has ended: a replay need not reach it then."""
    parent_id = operation.parent_id
    while parent_id is not None:
        parent = state.operations[parent_id]
        if parent.status not in OPERATION_OPEN:
            return True
        parent_id = parent.parent_id
    return False


class RecordedCheckpoints:
    """Records nothing, and suspends a handler that requests more than is recorded."""

    def __init__(self) -> None:
        self.beyond: list[OperationUpdate] = []

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        del listener  # nothing ever changes

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
        raise DurableFunctionsTestError("The first event of a history must be ExecutionStarted.")
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
    """Apply the operation's part of an event; checkpoint tokens are not public."""
    at_ms = to_epoch_ms(form.event_timestamp)
    operation = state.operations.get(event.subject.id)
    if operation is not None and operation.status is OperationStatus.PENDING:
        operation = operations.apply(operation, StepReady(event.subject), at_ms)
    operation = operations.apply(operation, event, at_ms)
    state.operations[operation.id] = operation
    if isinstance(event, ContextSucceeded):
        assert isinstance(operation.details, ContextDetails)
        operation.details.replay_children = form.replay_children
