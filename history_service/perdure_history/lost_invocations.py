"""Invocations that no worker runs any more: lost with their worker, or not claimed by any."""

from perdure_core.commands import Complete, CompletionStatus, HandBack
from perdure_core.execution import current_token, decide, is_current
from perdure_core.model import ErrorObject, ExecutionStatus
from perdure_core.state import Dispatch, State, is_open
from perdure_history.committer import Submission
from perdure_history.execution_cache import CachedExecution
from perdure_history.executions import Executions
from perdure_history.ids import new_id
from perdure_history.running_invocations import RunningInvocation

WORKER_LOST = ErrorObject("The worker was lost while it ran the invocation.", "Runtime.ExitError")
UNCLAIMED = ErrorObject(
    "The invocation was not claimed by any worker after the node had restarted.",
    "Runtime.ExitError",
)


def record_lost(
    executions: Executions, execution: CachedExecution, running: RunningInvocation
) -> Submission | None:
    """Record that an invocation was lost, so that the execution wants another one.

    Returns None when it is not the current one any more.
    """
    state = execution.state
    token = current_token(state, running.invocation_id, running.started_ms)
    if not running.is_current_in(state) or not is_current(state, token):
        executions.running.remove(execution.key)
        return None
    command = Complete(token=token, status=CompletionStatus.ERROR, error=WORKER_LOST)
    return _commit(executions, execution, command)


def is_unclaimed(executions: Executions, execution: CachedExecution) -> bool:
    """Return whether no worker claims an invocation that the state has, or a pause waits for."""
    state = execution.state
    if not is_open(state) or execution.key in executions.running:
        return False
    return state.dispatch is Dispatch.RUNNING or _waits_for_unknown(state)


def record_unclaimed(executions: Executions, execution: CachedExecution) -> Submission:
    """Record that no worker runs the execution, although its state says so."""
    state = execution.state
    if state.dispatch is Dispatch.RUNNING:
        assert state.invocation_id is not None
        token = current_token(state, state.invocation_id, state.invocation_started_ms)
        return _commit(
            executions,
            execution,
            Complete(token=token, status=CompletionStatus.ERROR, error=UNCLAIMED),
        )
    # It was handed out and never checkpointed: that is not a failure. Now the pause begins.
    assert _waits_for_unknown(state)
    token = current_token(state, new_id(), executions.clock.now_ms())
    return _commit(executions, execution, HandBack(token))


def _waits_for_unknown(state: State) -> bool:
    """Return whether a pause waits for an invocation that the database knows nothing of."""
    return state.status is ExecutionStatus.PAUSING and state.dispatch is Dispatch.WANTED


def _commit(
    executions: Executions, execution: CachedExecution, command: Complete | HandBack
) -> Submission:
    with executions.quarantine.setting_aside(
        execution.key, "the loss of its invocation cannot be recorded"
    ):
        decision = decide(execution.state, command, executions.clock.now_ms())
        assert decision.record is not None
    return executions.commit(execution, decision)
