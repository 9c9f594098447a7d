"""The EXECUTION machine: decisions on every command.

    RUNNING ──pause──▶ PAUSING ──invocation ends──▶ PAUSED
       ▲  ╰─────────(none runs)──────────────────────▲│
       ╰───────────────────resume─────────────────────╯
    any of them ──▶ SUCCEEDED | FAILED | TIMED_OUT | STOPPED ──delete──▶ DELETING

Nothing changes here: decisions are returned, and `fold.py` applies them. The order of events is
that of the Lambda history: an invocation's own events, InvocationCompleted, and then the event that
ends the execution.
"""

from typing import assert_never

from perdure_core import limits, operations, validation
from perdure_core.checkpoint import decide_updates
from perdure_core.commands import (
    AlarmDue,
    Checkpoint,
    CheckpointToken,
    ChildEnded,
    Command,
    Complete,
    CompleteCallback,
    Delete,
    HandBack,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
)
from perdure_core.completion import (
    BREAKS,
    decide_completion,
    end,
    has_changed_since,
    outcome_of,
    pause_begun,
)
from perdure_core.decision import NOTHING, Decision
from perdure_core.events import (
    CallbackFailed,
    CallbackSucceeded,
    CheckpointAccepted,
    DeletionRequested,
    Event,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionTimedOut,
    InvocationRetryDue,
    InvocationReturned,
    PauseRequested,
    Record,
)
from perdure_core.model import ErrorObject, ExecutionStatus, Operation, OperationType
from perdure_core.operations import callback, chained_invoke
from perdure_core.refusals import Ended, Invalid, NotEnded, StaleToken, Unknown
from perdure_core.start_validation import check_start
from perdure_core.state import DEADLINE, INVOCATION_RETRY, Dispatch, State, is_open


def begin(command: Start, now_ms: int) -> Record:
    """Return the first record of a history. Raises Invalid."""
    check_start(command)
    started = ExecutionStarted(
        namespace=command.namespace,
        function=command.function,
        name=command.name,
        execution_id=command.execution_id,
        timeout_s=command.timeout_s,
        retention_days=command.retention_days,
        input=command.input,
        parent=command.parent,
        tenant_id=command.tenant_id,
        trace_header=command.trace_header,
        client_context=command.client_context,
    )
    return Record(now_ms, (started,))


def decide(state: State, command: Command, now_ms: int) -> Decision:
    """Return what the command makes true. Raises a refusal, which must change nothing."""
    match command:
        case Checkpoint():
            return _checkpoint(state, command, now_ms)
        case Complete():
            return _complete(state, command, now_ms)
        case HandBack():
            return _hand_back(state, command, now_ms)
        case AlarmDue():
            return _alarm(state, now_ms)
        case CompleteCallback() | HeartbeatCallback():
            return _callback(state, command, now_ms)
        case ChildEnded():
            return _child_ended(state, command, now_ms)
        case Stop() | Pause() | Resume() | Delete():
            return _control(state, command, now_ms)
        case _:
            assert_never(command)


def current_token(state: State, invocation_id: str, started_ms: int) -> CheckpointToken:
    """Return the checkpoint token to hand out now.

    A token that goes with the answer to a checkpoint covers no more than that answer: what changed
    later comes with the next one.
    """
    last = state.last_call
    seen = state.sequence if last is None else last.sequence
    return CheckpointToken(invocation_id, state.turn, seen, started_ms)


def is_current(state: State, token: CheckpointToken) -> bool:
    """Return whether the token may still act. A revoked one may still end its invocation."""
    present = state.turn - 1 if state.revoked else state.turn
    return (
        state.status in (ExecutionStatus.RUNNING, ExecutionStatus.PAUSING)
        and present <= token.number <= state.turn
        and state.invocation_id in (None, token.invocation_id)
        and state.dispatch in (Dispatch.WANTED, Dispatch.RUNNING)
    )


def is_repeat(state: State, command: Checkpoint) -> bool:
    """Return whether the call repeats the last accepted one."""
    last = state.last_call
    return (
        last is not None
        and last.client_token == command.client_token
        and last.turn == command.token.number
        and state.invocation_id == command.token.invocation_id
    )


def _checkpoint(state: State, command: Checkpoint, now_ms: int) -> Decision:
    validation.check_client_token(command.client_token)
    if is_repeat(state, command):
        return NOTHING
    _require_current(state, command.token)
    if state.revoked:
        raise StaleToken("Invalid checkpoint token: the turn was revoked; end the invocation")
    draft = decide_updates(state, command, now_ms)
    token = command.token
    taken = CheckpointAccepted(
        invocation_id=token.invocation_id,
        started_ms=token.started_ms,
        client_token=command.client_token,
        seen=token.seen,
        news=has_changed_since(state, token),
        revoked=draft.has_outcome or state.status is ExecutionStatus.PAUSING,
        delivered=_deliverable(state, token),
    )
    return Decision(Record(now_ms, (taken, *draft.events)), tuple(draft.children))


def _deliverable(state: State, token: CheckpointToken) -> int | None:
    """Return how many changes fit into the answer; None when all do."""
    if not has_changed_since(state, token):
        return None
    room = limits.CHECKPOINT_NEWS_BYTES_MAX
    news = [id_ for id_, changed in state.unseen.items() if changed > token.seen]
    for count, operation_id in enumerate(news):
        room -= operations.outcome_bytes(state.operations[operation_id])
        if room < 0 and count:
            return count
    return None


def _complete(state: State, command: Complete, now_ms: int) -> Decision:
    token = command.token
    if _is_completed(state, command):
        return NOTHING
    _require_current(state, token)
    return decide_completion(state, command, now_ms)


def _is_completed(state: State, command: Complete) -> bool:
    """Return whether this very completion is recorded already.

    It is not when the invocation was recorded as broken meanwhile: then the worker's answer never
    arrived.
    """
    return (
        state.last_completed == command.token.invocation_id
        and command.token.number < state.turn
        and (command.status in BREAKS) is (state.invocation_failures > 0)
    )


def _hand_back(state: State, command: HandBack, now_ms: int) -> Decision:
    _require_current(state, command.token)
    returned = InvocationReturned(command.token.invocation_id)
    outcome = outcome_of(state)
    if outcome is not None:
        return end(state, (returned, outcome), now_ms)
    return Decision(Record(now_ms, (returned, *pause_begun(state))))


def _alarm(state: State, now_ms: int) -> Decision:
    events: list[Event] = []
    for alarm_id in state.alarms.due(now_ms):
        if alarm_id == DEADLINE:
            error = ErrorObject(
                f"Execution timed out after {state.timeout_s} seconds.", "Execution.Timeout"
            )
            last = outcome_of(state) or ExecutionTimedOut(error)
            return end(state, (*events, last), now_ms)
        if alarm_id == INVOCATION_RETRY:
            events.append(InvocationRetryDue())
        else:
            events.append(operations.decide_due(state.operations[alarm_id]))
    return Decision(Record(now_ms, tuple(events))) if events else NOTHING


def _callback(state: State, command: CompleteCallback | HeartbeatCallback, now_ms: int) -> Decision:
    operation = _find(state, command.operation_id, OperationType.CALLBACK)
    if _repeats_completion(operation, command):
        return NOTHING
    callback.require_open(operation)
    if not is_open(state):
        raise Ended(f"the execution of this callback has ended as {state.status}")
    subject = operations.subject_of(operation)
    event: Event
    if isinstance(command, HeartbeatCallback):
        heartbeat = callback.decide_heartbeat(operation, subject, now_ms)
        if heartbeat is None:
            return NOTHING
        event = heartbeat
    elif command.succeeded:
        validation.check_payload("callback result", command.result)
        event = CallbackSucceeded(subject, command.result)
    else:
        validation.check_error("callback error", command.error)
        event = CallbackFailed(subject, command.error or ErrorObject())
    return Decision(Record(now_ms, (event,)))


def _repeats_completion(
    operation: Operation, command: CompleteCallback | HeartbeatCallback
) -> bool:
    return (
        isinstance(command, CompleteCallback)
        and command.accept_equal
        and callback.is_repeat(operation, command)
    )


def _child_ended(state: State, command: ChildEnded, now_ms: int) -> Decision:
    operation = _find(state, command.operation_id, OperationType.CHAINED_INVOKE)
    if not is_open(state):
        return NOTHING
    event = chained_invoke.decide_ended(operation, command, operations.subject_of(operation))
    return NOTHING if event is None else Decision(Record(now_ms, (event,)))


def _control(state: State, command: Stop | Pause | Resume | Delete, now_ms: int) -> Decision:
    match command:
        case Stop():
            validation.check_error("stop error", command.error)
            if not is_open(state):
                return NOTHING
            return end(state, (ExecutionStopped(command.error or ErrorObject()),), now_ms)
        case Pause():
            return _pause(state, command, now_ms)
        case Resume():
            return _resume(state, command, now_ms)
        case Delete():
            if is_open(state):
                raise NotEnded(
                    f"only an ended execution can be deleted; this one is {state.status}"
                )
            if state.status is ExecutionStatus.DELETING:
                return NOTHING
            return Decision(Record(now_ms, (DeletionRequested(),)))
        case _:
            assert_never(command)


def _pause(state: State, command: Pause, now_ms: int) -> Decision:
    _require_open(state, "paused")
    _check_reason(command.reason)
    if state.pause is not None:
        return NOTHING
    handed_out = state.dispatch is Dispatch.WANTED and command.running
    if handed_out or state.dispatch is Dispatch.RUNNING:
        event: Event = PauseRequested(command.reason, command.timeout_paused)
    else:
        event = ExecutionPaused(now_ms, command.reason, command.timeout_paused)
    return Decision(Record(now_ms, (event,)))


def _resume(state: State, command: Resume, now_ms: int) -> Decision:
    _require_open(state, "resumed")
    _check_reason(command.reason)
    if state.pause is None:
        return NOTHING
    return Decision(Record(now_ms, (ExecutionResumed(command.reason),)))


def _require_current(state: State, token: CheckpointToken) -> None:
    if is_current(state, token):
        return
    if not is_open(state):
        reason = f"the execution has ended as {state.status}"
    elif state.status is ExecutionStatus.PAUSED:
        reason = f"the execution is {state.status}"
    elif token.number != state.turn:
        reason = f"its turn {token.number} has passed; the present one is {state.turn}"
    elif state.invocation_id is None:
        reason = f"no invocation is due ({state.dispatch})"
    else:
        reason = f"turn {token.number} was taken by another invocation, {state.invocation_id}"
    raise StaleToken(f"Invalid checkpoint token: {reason}")


def _require_open(state: State, what: str) -> None:
    if not is_open(state):
        raise Ended(f"an execution that has ended cannot be {what}; this one is {state.status}")


def _find(state: State, operation_id: str, expected: OperationType) -> Operation:
    operation = state.operations.get(operation_id)
    if operation is None or operation.type is not expected:
        raise Unknown(f"no {expected} {operation_id!r} in this execution")
    return operation


def _check_reason(reason: str | None) -> None:
    if reason is not None and len(reason) > limits.REASON_CHARS_MAX:
        raise Invalid(
            f"reason is {len(reason):,} characters; at most {limits.REASON_CHARS_MAX:,} are allowed"
        )
