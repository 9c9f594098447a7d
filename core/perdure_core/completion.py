"""Decisions on how an invocation ended, which may end the execution too.

A broken invocation (crash, lost worker) is not a failure of the execution: it is retried, at once
after the first break and then with growing delays, until the execution's deadline (Lambda developer
guide, retries).
"""

from typing import Final

from perdure_core import limits, validation
from perdure_core.commands import CheckpointToken, Complete, CompletionStatus
from perdure_core.decision import Decision, ReportEnd
from perdure_core.events import (
    Event,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    InvocationCompleted,
    Record,
)
from perdure_core.model import ErrorObject, ExecutionStatus
from perdure_core.payload import bytes_of
from perdure_core.state import State
from perdure_core.text import cut_chars

_INVALID_TYPE: Final = "InvalidParameterValueException"

# The reason of such a pause begins with this, so that operators and programs can recognise it.
DIVERGED_REASON: Final = "replay differs from history"
# The statuses of a broken invocation, each with the error type to use when it brings none.
BREAKS: Final = {
    CompletionStatus.ERROR: "Runtime.Unknown",
    CompletionStatus.DIVERGED: "NonDeterministicExecutionError",
}
_WITHOUT_ERROR: Final = (CompletionStatus.SUCCEEDED, CompletionStatus.PENDING)
_WITHOUT_RESULT: Final = (
    CompletionStatus.FAILED,
    CompletionStatus.PENDING,
    CompletionStatus.DIVERGED,
)


def decide_completion(state: State, command: Complete, now_ms: int) -> Decision:
    """Decide the end of an invocation whose token was checked."""
    ending = outcome_of(state) or _ending(state, command)
    if ending is not None:
        return end(state, (_completed(command), ending), now_ms)
    if command.status == CompletionStatus.DIVERGED:
        return _diverged(state, command, now_ms)
    if command.status == CompletionStatus.ERROR:
        completed = _broken(state, command, now_ms)
    else:
        completed = _completed(command, wanted=_has_news(state, command))
    return Decision(Record(now_ms, (completed, *pause_begun(state))))


def _diverged(state: State, command: Complete, now_ms: int) -> Decision:
    """Pause: the code requests other operations than the history holds.

    Nothing of that replay is recorded. Once the code is fixed, a resume replays from the start.
    """
    completed = _completed(command, wanted=True)
    error = completed.error
    assert error is not None
    message = f"{DIVERGED_REASON}: {error.message or error.type}"
    reason = cut_chars(message, limits.REASON_CHARS_MAX)
    requested_ms = now_ms if state.pause is None else state.pause.requested_ms
    paused = ExecutionPaused(requested_ms, reason, diverged=True)
    return Decision(Record(now_ms, (completed, paused)))


def pause_begun(state: State) -> tuple[ExecutionPaused, ...]:
    """Return the event of a pause that waited for the invocation to end, if one did."""
    if state.status is not ExecutionStatus.PAUSING:
        return ()
    pause = state.pause
    assert pause is not None
    return (ExecutionPaused(pause.requested_ms, pause.reason, pause.timeout_paused),)


def outcome_of(state: State) -> ExecutionSucceeded | ExecutionFailed | None:
    """Return the event that ends the execution, if its outcome was recorded ahead."""
    outcome = state.outcome
    if outcome is None:
        return None
    if outcome.succeeded:
        return ExecutionSucceeded(outcome.result)
    return ExecutionFailed(outcome.error or ErrorObject())


def end(state: State, events: tuple[Event, ...], now_ms: int) -> Decision:
    """Return a decision whose last event ends the execution, with the report to its parent."""
    if state.parent is None:
        return Decision(Record(now_ms, events))
    last = events[-1]
    match last:
        case ExecutionSucceeded():
            report = ReportEnd(parent=state.parent, status="SUCCEEDED", result=last.result)
        case ExecutionFailed():
            report = ReportEnd(parent=state.parent, status="FAILED", error=last.error)
        case ExecutionTimedOut():
            error = ErrorObject(
                f"CHAINED_INVOKE timed out after {state.timeout_s} seconds.",
                "ChainedInvoke.Timeout",
            )
            report = ReportEnd(parent=state.parent, status="TIMED_OUT", error=error)
        case ExecutionStopped():
            report = ReportEnd(parent=state.parent, status="STOPPED", error=last.error)
        case _:
            raise AssertionError(last)
    return Decision(Record(now_ms, events), (report,))


def _ending(state: State, command: Complete) -> ExecutionSucceeded | ExecutionFailed | None:
    """Return the event that ends the execution, or None when it goes on."""
    problem = _problem(state, command)
    if problem is not None:
        return ExecutionFailed(ErrorObject(problem, _INVALID_TYPE))
    if command.status == CompletionStatus.SUCCEEDED:
        return ExecutionSucceeded(command.result)
    if command.status == CompletionStatus.FAILED:
        return ExecutionFailed(validation.bounded_error(command.error or ErrorObject()))
    return None


def _problem(state: State, command: Complete) -> str | None:
    """Return why the completion is not allowed, or None when it is."""
    if command.status in _WITHOUT_ERROR and command.error is not None:
        return f"Cannot return {command.status} status with an error."
    if command.status in _WITHOUT_RESULT and command.result is not None:
        return f"Cannot return {command.status} status with a result."
    size = bytes_of(command.result)
    if size > limits.PAYLOAD_BYTES_MAX:
        return f"The result is {size:,} bytes; at most {limits.PAYLOAD_BYTES_MAX:,} are allowed."
    if (
        command.status == CompletionStatus.PENDING
        and not _has_news(state, command)
        and not _pending(state)
    ):
        return "Cannot return PENDING status with no pending operations."
    return None


def _pending(state: State) -> int:
    return state.timed_open + state.callbacks_open + state.children_open


def _has_news(state: State, command: Complete) -> bool:
    """Return whether the handler may have missed a change.

    It has certainly missed what changed after it last saw the state. What a checkpoint brought may
    have come after the branch that needed it had decided to suspend, so it counts until the
    invocation ends. An invocation that a pause cut short must run again in any case.
    """
    return state.news or state.revoked or has_changed_since(state, command.token)


def has_changed_since(state: State, token: CheckpointToken) -> bool:
    """Return whether anything changed that the holder of this token has not seen."""
    # Between two checkpoints an operation changes at most once, so the latest change is last.
    return bool(state.unseen) and next(reversed(state.unseen.values())) > token.seen


def _completed(command: Complete, *, wanted: bool = False) -> InvocationCompleted:
    token = command.token
    return InvocationCompleted(
        token.invocation_id, token.started_ms, _error_of(command), wanted=wanted
    )


def _broken(state: State, command: Complete, now_ms: int) -> InvocationCompleted:
    token = command.token
    delay_ms = backoff_ms(state.invocation_failures)
    return InvocationCompleted(
        token.invocation_id,
        token.started_ms,
        _error_of(command),
        wanted=delay_ms == 0,
        retry_at_ms=now_ms + delay_ms if delay_ms else None,
    )


def _error_of(command: Complete) -> ErrorObject | None:
    """Return the error of a broken invocation, which always has one; None for any other."""
    if command.status not in BREAKS:
        return None
    return validation.bounded_error(command.error or ErrorObject(None, BREAKS[command.status]))


def backoff_ms(failures_before: int) -> int:
    """Return how long to wait after one more broken invocation than this many in a row."""
    if failures_before == 0:
        return 0
    # The exponent is bounded so that a year of failures computes no huge number.
    doublings = min(failures_before - 1, 16)
    return min(limits.INVOCATION_BACKOFF_MS_FIRST << doublings, limits.INVOCATION_BACKOFF_MS_MAX)
