"""Events of a history as the Lambda API model shapes them: common fields, `<EventType>Details`.

Event types are the names of the core's classes. Payloads stand in wrappers that say whether they
were left out.
"""

from collections.abc import Mapping

from perdure_core.events import (
    CallbackEvent,
    CallbackFailed,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeEvent,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextEvent,
    ContextFailed,
    ContextSucceeded,
    Event,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    InvocationCompleted,
    OperationEvent,
    StepEvent,
    StepFailed,
    StepSucceeded,
    WaitCancelled,
    WaitEvent,
    WaitStarted,
    WaitSucceeded,
    is_public,
)
from perdure_core.model import ErrorObject
from perdure_core.payload import Payload, StoredPayload
from perdure_host.lambda_json.fields import present, seconds
from perdure_host.lambda_json.names import VERSION
from perdure_host.lambda_json.shapes import error_json
from perdure_host.services import NumberedEvent


def event_json(numbered: NumberedEvent, execution_id: str, *, included: bool) -> dict[str, object]:
    """Return a public event, with payloads and errors or without.

    Events of the execution itself belong to its EXECUTION operation, which has the execution's id:
    the published test runner of AWS reads no history where they have none. Ends of invocations
    belong to no operation.
    """
    event = numbered.event
    assert is_public(event)
    kind = type(event).__name__
    rendered: dict[str, object] = {
        "EventId": numbered.event_id,
        "EventType": kind,
        "EventTimestamp": seconds(numbered.at_ms),
        f"{kind}Details": _details(event, numbered.at_ms, _Payloads(included=included)),
    }
    if isinstance(event, OperationEvent):
        subject = event.subject
        rendered |= present(
            Id=subject.id, Name=subject.name, SubType=subject.sub_type, ParentId=subject.parent_id
        )
    elif not isinstance(event, InvocationCompleted):
        rendered["Id"] = execution_id
    return rendered


class _Payloads:
    """Wraps payloads, or tells that they were left out."""

    def __init__(self, *, included: bool) -> None:
        self._included = included

    def text(self, payload: Payload | None) -> dict[str, object]:
        return {"Truncated": True} if isinstance(payload, StoredPayload) else self._wrapped(payload)

    def error(self, error: ErrorObject | None) -> dict[str, object]:
        if error is not None and error.kept is not None:
            return {"Truncated": True}
        return self._wrapped(error_json(error))

    def optional_error(self, error: ErrorObject | None) -> dict[str, object] | None:
        return None if error is None else self.error(error)

    def _wrapped(self, payload: str | Mapping[str, object] | None) -> dict[str, object]:
        if payload is None:
            return {"Truncated": False}
        return {"Payload": payload, "Truncated": False} if self._included else {"Truncated": True}


def _details(event: Event, at_ms: int, payloads: _Payloads) -> dict[str, object]:
    match event:
        case StepEvent():
            return _step(event, payloads)
        case WaitEvent():
            return _wait(event, payloads)
        case ContextEvent():
            return _context(event, payloads)
        case CallbackEvent():
            return _callback(event, payloads)
        case ChainedInvokeEvent():
            return _chained_invoke(event, payloads)
        case ExecutionPaused() | ExecutionResumed():
            return _pause(event, at_ms, payloads)
        case ExecutionEvent():
            return _execution(event, at_ms, payloads)


def _execution(event: ExecutionEvent, at_ms: int, payloads: _Payloads) -> dict[str, object]:
    match event:
        case ExecutionStarted():
            return {"Input": payloads.text(event.input), "ExecutionTimeout": event.timeout_s}
        case ExecutionSucceeded():
            return {"Result": payloads.text(event.result)}
        case ExecutionFailed() | ExecutionTimedOut() | ExecutionStopped():
            return {"Error": payloads.error(event.error)}
        case InvocationCompleted():
            return present(
                StartTimestamp=seconds(event.started_ms),
                EndTimestamp=seconds(at_ms),
                RequestId=event.invocation_id,
                Error=payloads.optional_error(event.error),
            )
        case _:
            return {}


def _pause(
    event: ExecutionPaused | ExecutionResumed, at_ms: int, payloads: _Payloads
) -> dict[str, object]:
    reason = None if event.reason is None else payloads.text(event.reason)
    if isinstance(event, ExecutionResumed):
        return present(ResumeRequestTimestamp=seconds(at_ms), Reason=reason)
    return present(
        PauseRequestTimestamp=seconds(event.requested_ms),
        Reason=reason,
        ExecutionTimeoutPaused=event.timeout_paused,
    )


def _context(event: ContextEvent, payloads: _Payloads) -> dict[str, object]:
    match event:
        case ContextSucceeded():
            return {"Result": payloads.text(event.result)}
        case ContextFailed():
            return {"Error": payloads.error(event.error)}
        case _:
            return {}


def _step(event: StepEvent, payloads: _Payloads) -> dict[str, object]:
    match event:
        case StepSucceeded():
            return {"Result": payloads.text(event.result), "RetryDetails": _retry(event)}
        case StepFailed():
            return {"Error": payloads.error(event.error), "RetryDetails": _retry(event)}
        case _:
            return {}


def _retry(event: StepSucceeded | StepFailed) -> dict[str, object]:
    delay_ms = event.next_attempt_delay_ms
    return present(
        CurrentAttempt=event.attempt,
        NextAttemptDelaySeconds=None if delay_ms is None else _whole_seconds(delay_ms),
    )


def _wait(event: WaitEvent, payloads: _Payloads) -> dict[str, object]:
    match event:
        case WaitStarted():
            return {
                "Duration": _whole_seconds(event.duration_ms),
                "ScheduledEndTimestamp": seconds(event.scheduled_end_ms),
            }
        case WaitSucceeded():
            return {"Duration": _whole_seconds(event.duration_ms)}
        case WaitCancelled():
            return present(Error=payloads.optional_error(event.error))
        case _:
            return {}


def _callback(event: CallbackEvent, payloads: _Payloads) -> dict[str, object]:
    match event:
        case CallbackStarted():
            return present(
                CallbackId=event.callback_id,
                Timeout=event.timeout_s or None,
                HeartbeatTimeout=event.heartbeat_timeout_s or None,
            )
        case CallbackSucceeded():
            return {"Result": payloads.text(event.result)}
        case CallbackFailed() | CallbackTimedOut():
            return {"Error": payloads.error(event.error)}
        case _:
            return {}


def _chained_invoke(event: ChainedInvokeEvent, payloads: _Payloads) -> dict[str, object]:
    match event:
        case ChainedInvokeStarted():
            return present(
                FunctionName=event.function,
                TenantId=event.tenant_id,
                Input=payloads.text(event.input),
                ExecutedVersion=None if event.execution_arn is None else VERSION,
                DurableExecutionArn=event.execution_arn,
            )
        case ChainedInvokeSucceeded():
            return {"Result": payloads.text(event.result)}
        case ChainedInvokeFailed() | ChainedInvokeTimedOut() | ChainedInvokeStopped():
            return {"Error": payloads.error(event.error)}
        case _:
            return {}


def _whole_seconds(duration_ms: int) -> int:
    """Round up: the model knows whole seconds only, and a part of one is not nothing."""
    return -(-duration_ms // 1_000)
