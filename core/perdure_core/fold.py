"""The fold of records into a state: the only code that changes a state.

Must stay true after every record: alarms are exactly those of the open operations, the deadline and
a backoff; each counter of open operations is right; an ended execution has no alarms, no news and
wants no worker. An operation below a context that has ended is *abandoned*: no handler will ask for
it again, so it has no alarm, is not counted, and its end wakes no handler.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from perdure_core import operations
from perdure_core.events import (
    AnyOperationEvent,
    CallbackHeartbeat,
    CheckpointAccepted,
    ContextFailed,
    ContextSucceeded,
    DeletionRequested,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    InvocationCompleted,
    InvocationRetryDue,
    InvocationReturned,
    OutcomeRecorded,
    PauseRequested,
    Record,
    public_count,
)
from perdure_core.limits import EXECUTION_TIMEOUT_S_MAX
from perdure_core.model import ExecutionStatus, Operation, OperationStatus, OperationType
from perdure_core.state import (
    DEADLINE,
    INVOCATION_RETRY,
    Dispatch,
    LastCall,
    Outcome,
    PauseState,
    State,
)

_CONTEXT_ENDS: Final = (ContextSucceeded, ContextFailed)


def fold(records: Iterable[Record]) -> State:
    """Return the state after all records, of which there is at least one."""
    state: State | None = None
    for record in records:
        state = apply(state, record)
    assert state is not None
    return state


def apply(state: State | None, record: Record) -> State:
    """Fold one record in and return the state, changed in place (created by the first record)."""
    if state is None:
        state = _new(record)
    state.sequence += 1
    own = False
    for event in record.events:
        if isinstance(event, ExecutionEvent):
            own = own or isinstance(event, CheckpointAccepted)
            _FOLDS[type(event)](state, event, record.at_ms)
        else:
            _operation(state, event, record.at_ms, own=own)
    state.event_count += public_count(record)
    return state


def _new(record: Record) -> State:
    started = record.events[0]
    assert isinstance(started, ExecutionStarted)
    return State(
        namespace=started.namespace,
        function=started.function,
        name=started.name,
        execution_id=started.execution_id,
        started_ms=record.at_ms,
        timeout_s=started.timeout_s,
        retention_days=started.retention_days,
        deadline_ms=record.at_ms + started.timeout_s * 1_000,
        input=started.input,
        parent=started.parent,
        tenant_id=started.tenant_id,
        trace_header=started.trace_header,
        client_context=started.client_context,
    )


def _operation(state: State, event: AnyOperationEvent, at_ms: int, *, own: bool) -> None:
    operation_id = event.subject.id
    before = state.operations.get(operation_id)
    # A later update may leave the parent out.
    parent_id = event.subject.parent_id if before is None else before.parent_id
    abandoned = _is_abandoned(state, parent_id)
    pending_before = None if before is None or abandoned else operations.pending(before)
    operation = operations.apply(before, event, at_ms)
    if before is None:
        state.operations[operation_id] = operation
    pending_after = None if abandoned else operations.pending(operation)
    if pending_before != pending_after:
        _count(state, operation_id, pending_before, -1)
        _count(state, operation_id, pending_after, 1)
    state.alarms.move(operation_id, None if abandoned else operations.due_ms(operation))
    if operation.parent_id is not None and not abandoned:
        _track_open(state, operation, operation.parent_id)
    if isinstance(event, _CONTEXT_ENDS):
        _abandon_below(state, operation_id)
    if own:
        assert state.last_call is not None
        state.last_call.changed[operation_id] = None
        state.unseen.pop(operation_id, None)
    elif not isinstance(event, CallbackHeartbeat) and not abandoned:
        # Removed first, so that the latest change is last.
        state.unseen.pop(operation_id, None)
        state.unseen[operation_id] = state.sequence
        if state.dispatch is Dispatch.IDLE:
            state.dispatch = Dispatch.WANTED


def _is_abandoned(state: State, parent_id: str | None) -> bool:
    """Return whether the context, or one around it, has ended."""
    while parent_id is not None:
        parent = state.operations[parent_id]
        if parent.status is not OperationStatus.STARTED:
            return True
        parent_id = parent.parent_id
    return False


def _track_open(state: State, operation: Operation, context_id: str) -> None:
    open_below = state.open_below.setdefault(context_id, {})
    is_context = operation.type is OperationType.CONTEXT
    if operations.pending(operation) or (is_context and operation.ended_ms is None):
        open_below[operation.id] = None
    else:
        open_below.pop(operation.id, None)
    if not open_below:
        del state.open_below[context_id]


def _abandon_below(state: State, context_id: str) -> None:
    """Remove what is open below an ended context from alarms and counters.

    Takes time in proportion to what is open.
    """
    contexts = [context_id]
    while contexts:
        for operation_id in state.open_below.pop(contexts.pop(), ()):
            operation = state.operations[operation_id]
            if operation.type is OperationType.CONTEXT:
                contexts.append(operation_id)
                continue
            _count(state, operation_id, operations.pending(operation), -1)
            state.alarms.move(operation_id, None)


def _count(state: State, operation_id: str, kind: operations.Pending | None, change: int) -> None:
    if kind == "timed":
        state.timed_open += change
    elif kind == "callback" and change > 0:
        state.open_callbacks[operation_id] = len(state.operations)
    elif kind == "callback":
        del state.open_callbacks[operation_id]
    elif kind == "child":
        state.children_open += change


def _started(state: State, _event: ExecutionStarted, _at_ms: int) -> None:
    state.alarms.move(DEADLINE, state.deadline_ms)


def _checkpoint_accepted(state: State, event: CheckpointAccepted, _at_ms: int) -> None:
    news = [id_ for id_, sequence in state.unseen.items() if sequence > event.seen]
    delivered = len(news) if event.delivered is None else event.delivered
    changed = dict.fromkeys(news[:delivered])
    state.last_call = LastCall(
        state.sequence, event.client_token, state.turn, event.revoked, changed
    )
    # What did not fit into the answer counts as changed after it.
    state.unseen = dict.fromkeys(news[delivered:], state.sequence + 1)
    state.turn += 1
    state.invocation_id = event.invocation_id
    state.invocation_started_ms = event.started_ms
    state.dispatch = Dispatch.RUNNING
    state.news = state.news or event.news
    state.revoked = event.revoked


def _invocation_completed(state: State, event: InvocationCompleted, _at_ms: int) -> None:
    _end_invocation(state)
    state.last_completed = event.invocation_id
    state.invocations_completed += 1
    state.invocation_failures = 0 if event.error is None else state.invocation_failures + 1
    if event.retry_at_ms is not None:
        state.dispatch = Dispatch.BACKOFF
        state.alarms.move(INVOCATION_RETRY, event.retry_at_ms)
    elif event.wanted:
        state.dispatch = Dispatch.WANTED
    else:
        state.dispatch = Dispatch.IDLE
        state.unseen.clear()


def _invocation_returned(state: State, _event: InvocationReturned, _at_ms: int) -> None:
    _end_invocation(state)
    state.dispatch = Dispatch.WANTED


def _end_invocation(state: State) -> None:
    state.turn += 1
    state.invocation_id = None
    state.last_call = None
    state.news = False
    state.revoked = False


def _retry_due(state: State, _event: InvocationRetryDue, _at_ms: int) -> None:
    state.alarms.move(INVOCATION_RETRY, None)
    state.dispatch = Dispatch.WANTED


def _outcome_recorded(state: State, event: OutcomeRecorded, _at_ms: int) -> None:
    state.outcome = Outcome(event.succeeded, event.result, event.error)


def _pause_requested(state: State, event: PauseRequested, at_ms: int) -> None:
    state.status = ExecutionStatus.PAUSING
    state.pause = PauseState(at_ms, event.reason, event.timeout_paused)


def _paused(state: State, event: ExecutionPaused, at_ms: int) -> None:
    state.status = ExecutionStatus.PAUSED
    state.pause = PauseState(
        event.requested_ms, event.reason, event.timeout_paused, at_ms, diverged=event.diverged
    )
    if event.timeout_paused:
        state.alarms.move(DEADLINE, _last_deadline_ms(state))


def _resumed(state: State, _event: ExecutionResumed, at_ms: int) -> None:
    pause = state.pause
    assert pause is not None
    if pause.began_ms is not None and pause.timeout_paused:
        # Another node, with another clock, may have begun the pause.
        prolonged = state.deadline_ms + max(0, at_ms - pause.began_ms)
        state.deadline_ms = min(prolonged, _last_deadline_ms(state))
    state.alarms.move(DEADLINE, state.deadline_ms)
    state.status = ExecutionStatus.RUNNING
    state.pause = None


def _last_deadline_ms(state: State) -> int:
    return state.started_ms + EXECUTION_TIMEOUT_S_MAX * 1_000


def _succeeded(state: State, event: ExecutionSucceeded, at_ms: int) -> None:
    state.result = event.result
    _end(state, ExecutionStatus.SUCCEEDED, at_ms)


def _failed(state: State, event: ExecutionFailed, at_ms: int) -> None:
    state.error = event.error
    _end(state, ExecutionStatus.FAILED, at_ms)


def _timed_out(state: State, event: ExecutionTimedOut, at_ms: int) -> None:
    state.error = event.error
    _end(state, ExecutionStatus.TIMED_OUT, at_ms)


def _stopped(state: State, event: ExecutionStopped, at_ms: int) -> None:
    state.error = event.error
    _end(state, ExecutionStatus.STOPPED, at_ms)


def _end(state: State, status: ExecutionStatus, at_ms: int) -> None:
    state.status = status
    state.ended_ms = at_ms
    state.dispatch = Dispatch.IDLE
    state.alarms.clear()
    state.open_below.clear()
    state.unseen.clear()
    state.pause = None
    state.outcome = None
    state.news = False
    state.revoked = False


def _deletion_requested(state: State, _event: DeletionRequested, at_ms: int) -> None:
    state.status = ExecutionStatus.DELETING
    state.deleted_ms = at_ms


_FOLDS: Final[dict[type[ExecutionEvent], Callable[[State, Any, int], None]]] = {
    ExecutionStarted: _started,
    CheckpointAccepted: _checkpoint_accepted,
    InvocationCompleted: _invocation_completed,
    InvocationReturned: _invocation_returned,
    InvocationRetryDue: _retry_due,
    OutcomeRecorded: _outcome_recorded,
    PauseRequested: _pause_requested,
    ExecutionPaused: _paused,
    ExecutionResumed: _resumed,
    ExecutionSucceeded: _succeeded,
    ExecutionFailed: _failed,
    ExecutionTimedOut: _timed_out,
    ExecutionStopped: _stopped,
    DeletionRequested: _deletion_requested,
}
