"""Events of histories as documents (`HistoryEvent`), and documents as events again."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, get_args

from perdure.testing.history import HistoryError, HistoryEvent, RetryDetails
from perdure_core.event_fields import FIELD_NAMES, EpochMs, Retry, event_fields
from perdure_core.events import AnyOperationEvent, Event, Record, Subject, is_public
from perdure_core.model import ErrorObject
from perdure_core.timestamps import from_epoch_ms, to_epoch_ms

_OPERATION_EVENTS: Final[dict[str, type[AnyOperationEvent]]] = {
    each.__name__: each for each in get_args(AnyOperationEvent)
}


def event_documents(records: list[Record]) -> tuple[HistoryEvent, ...]:
    """Return all public events, numbered from 1."""
    public = [
        (each, record.at_ms) for record in records for each in record.events if is_public(each)
    ]
    return tuple(event_document(number, *event) for number, event in enumerate(public, 1))


def event_document(event_id: int, event: Event, at_ms: int) -> HistoryEvent:
    """Return the document of a public event, which is what an exported history shows of it."""
    fields: dict[str, Any] = {}
    for name, value in event_fields(event, at_ms).items():
        convert = _DOCUMENTS.get(type(value))
        fields[name] = value if convert is None else convert(value)
    return HistoryEvent(event_id=event_id, **fields)


def operation_event(document: HistoryEvent) -> AnyOperationEvent | None:
    """Return the event; None for those of the execution itself, and unknown ones."""
    kind = _OPERATION_EVENTS.get(document.event_type)
    if kind is None:
        return None
    fields = {attribute: _read(document, attribute) for attribute in kind.__struct_fields__}
    return kind(**fields)


def _error_document(error: ErrorObject) -> HistoryError:
    return HistoryError(error.type, error.message, error.data, error.stack_trace)


def _retry_document(retry: Retry) -> RetryDetails:
    return RetryDetails(retry.current_attempt, retry.next_attempt_delay_ms)


# Values of other types are the same in documents.
_DOCUMENTS: Final[dict[type, Callable[[Any], object]]] = {
    EpochMs: from_epoch_ms,
    ErrorObject: _error_document,
    Retry: _retry_document,
}


def _read(document: HistoryEvent, attribute: str) -> Any:
    retry = document.retry_details or RetryDetails()
    match attribute:
        case "subject":
            return Subject(document.id or "", document.name, document.sub_type, document.parent_id)
        case "attempt":
            return retry.current_attempt
        case "next_attempt_delay_ms":
            return retry.next_attempt_delay_ms
        case _:
            value = getattr(document, FIELD_NAMES.get(attribute, attribute))
    match value:
        case HistoryError():
            return ErrorObject(
                value.error_message, value.error_type, value.error_data, value.stack_trace
            )
        case datetime():
            return to_epoch_ms(value)
        case _:
            return value
