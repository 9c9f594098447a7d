"""Events of a history as JSON of the Lambda API: common fields, and `<EventType>Details`."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from perdure_core.event_fields import FieldValue, Retry, event_fields
from perdure_core.model import ErrorObject
from perdure_core.payload import StoredPayload
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
    fields = event_fields(numbered.event, numbered.at_ms)
    kind = type(numbered.event).__name__
    rendered: dict[str, object] = {
        "EventId": numbered.event_id,
        "EventType": kind,
        "EventTimestamp": seconds(numbered.at_ms),
        f"{kind}Details": _details(kind, fields, included=included),
    }
    for key, name in _SUBJECT:
        if name in fields:
            rendered[key] = fields[name]
    if "id" not in fields and kind != "InvocationCompleted":
        rendered["Id"] = execution_id
    return rendered


def _details(kind: str, fields: Mapping[str, FieldValue], *, included: bool) -> dict[str, object]:
    details: dict[str, object] = {}
    for key, name, convert in _DETAILS.get(kind, ()):
        value: object = fields.get(name)
        if name in _WRAPPED_ALWAYS or (name in _WRAPPED and value is not None):
            value = _wrapped(value, included=included)
        elif convert is not None and value is not None:
            value = convert(value)
        if value is not None:
            details[key] = value
    return details


def _wrapped(value: object, *, included: bool) -> dict[str, object]:
    """Return a payload or an error in a wrapper that says whether it was left out."""
    if value is None:
        return {"Truncated": False}
    payload = value
    stored = isinstance(value, StoredPayload)
    if isinstance(value, ErrorObject):
        payload = error_json(value)
        stored = value.kept is not None
    if stored or not included:
        return {"Truncated": True}
    return {"Payload": payload, "Truncated": False}


def _whole_seconds(duration_ms: int) -> int:
    """Return the duration rounded up: the API has whole seconds only, and none means no delay."""
    return -(-duration_ms // 1_000)


def _unless_zero(timeout_s: int) -> int | None:
    return timeout_s or None


def _retry(retry: Retry) -> dict[str, object]:
    delay_ms = retry.next_attempt_delay_ms
    return present(
        CurrentAttempt=retry.current_attempt,
        NextAttemptDelaySeconds=None if delay_ms is None else _whole_seconds(delay_ms),
    )


_SUBJECT: Final = (
    ("Id", "id"),
    ("Name", "name"),
    ("SubType", "sub_type"),
    ("ParentId", "parent_id"),
)
_WRAPPED: Final = frozenset({"input", "result", "error", "reason"})
# These have a wrapper even where there is no payload.
_WRAPPED_ALWAYS: Final = frozenset({"input", "result"})

# A key of the details, the field that it shows, and how a value is converted.
_Detail: TypeAlias = tuple[str, str, Callable[[Any], object] | None]
_INPUT: Final[_Detail] = ("Input", "input", None)
_RESULT: Final[_Detail] = ("Result", "result", None)
_ERROR: Final[_Detail] = ("Error", "error", None)
_REASON: Final[_Detail] = ("Reason", "reason", None)
_RETRY: Final[_Detail] = ("RetryDetails", "retry_details", _retry)
_DURATION: Final[_Detail] = ("Duration", "duration_ms", _whole_seconds)
_DETAILS: Final[dict[str, tuple[_Detail, ...]]] = {
    "ExecutionStarted": (_INPUT, ("ExecutionTimeout", "execution_timeout_seconds", None)),
    "ExecutionSucceeded": (_RESULT,),
    "ExecutionFailed": (_ERROR,),
    "ExecutionTimedOut": (_ERROR,),
    "ExecutionStopped": (_ERROR,),
    "ExecutionPaused": (
        ("PauseRequestTimestamp", "request_timestamp", seconds),
        _REASON,
        ("ExecutionTimeoutPaused", "execution_timeout_paused", None),
    ),
    "ExecutionResumed": (("ResumeRequestTimestamp", "request_timestamp", seconds), _REASON),
    "InvocationCompleted": (
        ("StartTimestamp", "invocation_start_timestamp", seconds),
        ("EndTimestamp", "event_timestamp", seconds),
        ("RequestId", "request_id", None),
        _ERROR,
    ),
    "ContextSucceeded": (_RESULT,),
    "ContextFailed": (_ERROR,),
    "StepSucceeded": (_RESULT, _RETRY),
    "StepFailed": (_ERROR, _RETRY),
    "WaitStarted": (_DURATION, ("ScheduledEndTimestamp", "scheduled_end_timestamp", seconds)),
    "WaitSucceeded": (_DURATION,),
    "WaitCancelled": (_ERROR,),
    "CallbackStarted": (
        ("CallbackId", "callback_id", None),
        ("Timeout", "timeout_seconds", _unless_zero),
        ("HeartbeatTimeout", "heartbeat_timeout_seconds", _unless_zero),
    ),
    "CallbackSucceeded": (_RESULT,),
    "CallbackFailed": (_ERROR,),
    "CallbackTimedOut": (_ERROR,),
    "ChainedInvokeStarted": (
        ("FunctionName", "function_name", None),
        ("TenantId", "tenant_id", None),
        _INPUT,
        ("ExecutedVersion", "execution_arn", lambda _arn: VERSION),
        ("DurableExecutionArn", "execution_arn", None),
    ),
    "ChainedInvokeSucceeded": (_RESULT,),
    "ChainedInvokeFailed": (_ERROR,),
    "ChainedInvokeTimedOut": (_ERROR,),
    "ChainedInvokeStopped": (_ERROR,),
}
