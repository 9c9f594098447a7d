"""The CALLBACK machine: something that a person or another system completes.

    absent ──START──▶ STARTED ──succeed──▶ SUCCEEDED
                       │  ▲ ╰──fail─────▶ FAILED
                   heartbeat╰──due──────▶ TIMED_OUT

Two timeouts may run: the total one from the start on, and the heartbeat timeout from the last
heartbeat on. A heartbeat moves only the second (Lambda developer guide, callbacks).

The first completion counts. A second one with the same outcome, whatever has become of the
execution meanwhile, is a repeat, which changes nothing.

Heartbeats in quick succession are not recorded one by one: the record of one lets the timeout run
longer, and those that it covers need none. So the timeout may strike a little late, never early.
"""

from typing import Final

from perdure_core.commands import CompleteCallback
from perdure_core.events import (
    AnyCallbackEvent,
    CallbackEvent,
    CallbackFailed,
    CallbackHeartbeat,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    Subject,
)
from perdure_core.large_payloads import is_same_error, is_same_text
from perdure_core.model import (
    CallbackDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure_core.refusals import CallbackClosed, CallbackExpired, Invalid

# At most one heartbeat is recorded in this time, in a hundredth of the callback's age once that is
# longer, and in a tenth of the heartbeat timeout if that is shorter; as the SDK does for steps.
_INTERVAL_MS: Final = 5_000
_AGE_SHARE: Final = 100
_TIMEOUT_SHARE: Final = 10

EDGES: Final[dict[tuple[OperationStatus | None, type[CallbackEvent]], OperationStatus]] = {
    (None, CallbackStarted): OperationStatus.STARTED,
    (OperationStatus.STARTED, CallbackHeartbeat): OperationStatus.STARTED,
    (OperationStatus.STARTED, CallbackSucceeded): OperationStatus.SUCCEEDED,
    (OperationStatus.STARTED, CallbackFailed): OperationStatus.FAILED,
    (OperationStatus.STARTED, CallbackTimedOut): OperationStatus.TIMED_OUT,
}


def decide_update(
    operation: Operation | None, update: OperationUpdate, subject: Subject, callback_id: str | None
) -> AnyCallbackEvent:
    """Return the event that the update causes. Raises Invalid when the status forbids it."""
    if update.action is not OperationAction.START:
        raise Invalid(f"a CALLBACK cannot {update.action} by checkpoint (operation {update.id!r})")
    if operation is not None:
        raise Invalid(f"cannot START CALLBACK {update.id!r}: it is {operation.status}")
    assert callback_id is not None
    return CallbackStarted(subject, callback_id, update.timeout_s, update.heartbeat_timeout_s)


def require_open(operation: Operation) -> None:
    """Raise CallbackClosed unless the callback can still be completed."""
    if operation.status is OperationStatus.STARTED:
        return
    timed_out = operation.status is OperationStatus.TIMED_OUT
    refusal = CallbackExpired if timed_out else CallbackClosed
    raise refusal(f"callback {operation.name or operation.id!r} is already {operation.status}")


def is_repeat(operation: Operation, command: CompleteCallback) -> bool:
    """Return whether the callback was completed before with this very outcome."""
    details = operation.details
    assert isinstance(details, CallbackDetails)
    match operation.status:
        case OperationStatus.SUCCEEDED:
            return command.succeeded and is_same_text(details.result, command.result)
        case OperationStatus.FAILED:
            return not command.succeeded and is_same_error(details.error, command.error)
        case _:
            return False


def decide_heartbeat(
    operation: Operation, subject: Subject, now_ms: int
) -> CallbackHeartbeat | None:
    """Return the event of a heartbeat, or None: no timeout, or one that covers it already."""
    details = operation.details
    assert isinstance(details, CallbackDetails)
    timeout_ms = details.heartbeat_timeout_s * 1_000
    if details.heartbeat_due_ms is None or now_ms + timeout_ms <= details.heartbeat_due_ms:
        return None
    age_ms = now_ms - operation.started_ms
    interval_ms = min(max(_INTERVAL_MS, age_ms // _AGE_SHARE), timeout_ms // _TIMEOUT_SHARE)
    last_ms = details.heartbeat_ms
    is_quick = last_ms is not None and now_ms - last_ms < 2 * interval_ms
    return CallbackHeartbeat(subject, slack_ms=interval_ms if is_quick else 0)


def decide_due(operation: Operation, subject: Subject) -> AnyCallbackEvent:
    """Return the event of the timeout that came first."""
    details = operation.details
    assert isinstance(details, CallbackDetails)
    heartbeat_first = details.heartbeat_due_ms is not None and (
        details.timeout_due_ms is None or details.heartbeat_due_ms < details.timeout_due_ms
    )
    if heartbeat_first:
        error = ErrorObject("Callback timed out on heartbeat", "Callback.Heartbeat")
    else:
        error = ErrorObject("Callback timed out", "Callback.Timeout")
    return CallbackTimedOut(subject, error)


def apply(operation: Operation | None, event: AnyCallbackEvent, at_ms: int) -> Operation:
    """Fold the event in; the operation is changed in place, or created."""
    status = EDGES[None if operation is None else operation.status, type(event)]
    if isinstance(event, CallbackStarted):
        return _begin(event, at_ms)
    assert operation is not None
    details = operation.details
    assert isinstance(details, CallbackDetails)
    operation.status = status
    if isinstance(event, CallbackHeartbeat):
        details.heartbeat_due_ms = _due(at_ms + event.slack_ms, details.heartbeat_timeout_s)
        details.heartbeat_ms = at_ms
        return operation
    operation.ended_ms = at_ms
    if isinstance(event, CallbackSucceeded):
        details.result = event.result
    else:
        details.error = event.error
    return operation


def due_ms(operation: Operation) -> int | None:
    """Return when time alone will change the callback."""
    details = operation.details
    assert isinstance(details, CallbackDetails)
    if operation.status is not OperationStatus.STARTED:
        return None
    due = [at for at in (details.timeout_due_ms, details.heartbeat_due_ms) if at is not None]
    return min(due, default=None)


def _begin(event: CallbackStarted, at_ms: int) -> Operation:
    return Operation(
        id=event.subject.id,
        type=OperationType.CALLBACK,
        status=OperationStatus.STARTED,
        started_ms=at_ms,
        details=CallbackDetails(
            callback_id=event.callback_id,
            timeout_s=event.timeout_s,
            heartbeat_timeout_s=event.heartbeat_timeout_s,
            timeout_due_ms=_due(at_ms, event.timeout_s),
            heartbeat_due_ms=_due(at_ms, event.heartbeat_timeout_s),
        ),
        parent_id=event.subject.parent_id,
        name=event.subject.name,
        sub_type=event.subject.sub_type,
    )


def _due(from_ms: int, timeout_s: int) -> int | None:
    return from_ms + timeout_s * 1_000 if timeout_s else None
