"""Operations as JSON of the service model, with times in seconds or in milliseconds.

The API has seconds; the event that a handler is invoked with has whole milliseconds.
"""

from collections.abc import Callable
from typing import TypeAlias, assert_never

from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ExecutionDetails,
    Operation,
    StepDetails,
    WaitDetails,
)
from perdure_core.payload import text_of
from perdure_host.lambda_json.fields import present, seconds
from perdure_host.lambda_json.shapes import error_json

# From milliseconds since 1970.
TimeWriter: TypeAlias = Callable[[int], float]


def milliseconds(time_ms: int) -> int:
    """Return a time in milliseconds, as in the events of handlers."""
    return time_ms


def operation_json(operation: Operation, time: TimeWriter = seconds) -> dict[str, object]:
    """Return an operation; `time` formats times."""
    return present(
        Id=operation.id,
        ParentId=operation.parent_id,
        Name=operation.name,
        Type=operation.type,
        SubType=operation.sub_type,
        StartTimestamp=time(operation.started_ms),
        EndTimestamp=_optional(operation.ended_ms, time),
        Status=operation.status,
        **_details_json(operation.details, time),
    )


def _details_json(details: Details, time: TimeWriter) -> dict[str, object]:
    match details:
        case ExecutionDetails():
            return {"ExecutionDetails": present(InputPayload=text_of(details.input))}
        case ContextDetails():
            outcome = _outcome(details)
            return {"ContextDetails": {"ReplayChildren": details.replay_children, **outcome}}
        case StepDetails():
            return {"StepDetails": _step_json(details, time)}
        case WaitDetails():
            return {"WaitDetails": {"ScheduledEndTimestamp": time(details.scheduled_end_ms)}}
        case CallbackDetails():
            return {"CallbackDetails": {"CallbackId": details.callback_id, **_outcome(details)}}
        case ChainedInvokeDetails():
            return {"ChainedInvokeDetails": _outcome(details)}
        case _:
            assert_never(details)


def _step_json(details: StepDetails, time: TimeWriter) -> dict[str, object]:
    next_attempt = _optional(details.next_attempt_ms, time)
    return present(Attempt=details.attempt, NextAttemptTimestamp=next_attempt, **_outcome(details))


def _outcome(
    details: ContextDetails | StepDetails | CallbackDetails | ChainedInvokeDetails,
) -> dict[str, object]:
    return present(Result=text_of(details.result), Error=error_json(details.error))


def _optional(time_ms: int | None, time: TimeWriter) -> float | None:
    return None if time_ms is None else time(time_ms)
