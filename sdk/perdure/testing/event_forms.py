"""Events of the core as events of the API, and back.

Both name the same things; the tables say under which names. A test compares what is written here
with what a gateway renders.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, get_args

from perdure.testing.history import HistoryError, HistoryEvent, RetryDetails
from perdure_core.events import (
    AnyOperationEvent,
    Event,
    ExecutionResumed,
    ExecutionStarted,
    Record,
    Subject,
    is_public,
)
from perdure_core.model import ErrorObject
from perdure_core.timestamps import from_epoch_ms, to_epoch_ms

_RENAMED: Final = {
    "timeout_s": "timeout_seconds",
    "heartbeat_timeout_s": "heartbeat_timeout_seconds",
    "function": "function_name",
    "invocation_id": "request_id",
    "started_ms": "invocation_start_timestamp",
    "scheduled_end_ms": "scheduled_end_timestamp",
    "requested_ms": "request_timestamp",
    "timeout_paused": "execution_timeout_paused",
}
_UNTOLD: Final = {"wanted", "retry_at_ms"}

_OPERATION_EVENTS: Final[dict[str, type[AnyOperationEvent]]] = {
    each.__name__: each for each in get_args(AnyOperationEvent)
}


def public_events(records: list[Record]) -> tuple[HistoryEvent, ...]:
    """Return the events that people are shown, numbered from 1."""
    shown = ((event, record.at_ms) for record in records for event in record.events)
    public = ((event, at_ms) for event, at_ms in shown if is_public(event))
    return tuple(
        event_form(number, event, at_ms) for number, (event, at_ms) in enumerate(public, 1)
    )


def event_form(event_id: int, event: Event, at_ms: int) -> HistoryEvent:
    """Return a public event as the API tells it."""
    return HistoryEvent(
        event_id=event_id,
        event_type=type(event).__name__,
        event_timestamp=from_epoch_ms(at_ms),
        **_told(event, at_ms),
    )


def operation_event(form: HistoryEvent) -> AnyOperationEvent | None:
    """Return the event of the core; None for those of the execution itself, and unknown ones."""
    kind = _OPERATION_EVENTS.get(form.event_type)
    if kind is None:
        return None
    fields = {name: _read(form, name) for name in kind.__struct_fields__}
    return kind(**fields)


def error_form(error: ErrorObject | None) -> HistoryError | None:
    """Return an error as the API tells it."""
    if error is None:
        return None
    return HistoryError(error.type, error.message, error.data, error.stack_trace)


def error_record(form: HistoryError | None) -> ErrorObject | None:
    """Return an error of the core."""
    if form is None:
        return None
    return ErrorObject(form.error_message, form.error_type, form.error_data, form.stack_trace)


def _told(event: Event, at_ms: int) -> dict[str, Any]:
    if isinstance(event, ExecutionStarted):
        return {"input": event.input, "execution_timeout_seconds": event.timeout_s}
    fields: dict[str, Any] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        match name:
            case "subject":
                fields |= {each: getattr(value, each) for each in Subject.__struct_fields__}
            case "error":
                fields["error"] = error_form(value)
            case "attempt":
                fields["retry_details"] = _retry(event)
            case "next_attempt_delay_ms":
                pass
            case _ if name not in _UNTOLD:
                fields[_RENAMED.get(name, name)] = (
                    from_epoch_ms(value) if _is_moment(name) else value
                )
            case _:
                pass
    if isinstance(event, ExecutionResumed):
        fields["request_timestamp"] = from_epoch_ms(at_ms)
    return fields


def _retry(event: Any) -> RetryDetails:
    return RetryDetails(event.attempt, event.next_attempt_delay_ms if _delays(event) else None)


def _delays(event: Any) -> bool:
    return "next_attempt_delay_ms" in event.__struct_fields__


def _is_moment(name: str) -> bool:
    return _RENAMED.get(name, "").endswith("_timestamp")


_READERS: Final[dict[str, Callable[[HistoryEvent], Any]]] = {
    "subject": lambda form: Subject(form.id or "", form.name, form.sub_type, form.parent_id),
    "error": lambda form: error_record(form.error),
    "attempt": lambda form: (form.retry_details or RetryDetails()).current_attempt,
    "next_attempt_delay_ms": lambda form: (
        (form.retry_details or RetryDetails()).next_attempt_delay_ms
    ),
}


def _read(form: HistoryEvent, name: str) -> Any:
    reader = _READERS.get(name)
    if reader is not None:
        return reader(form)
    value = getattr(form, _RENAMED.get(name, name))
    return to_epoch_ms(value) if isinstance(value, datetime) else value
