"""Fields of public events, under the names of the API (`Event` in the contract).

Every rendering of a history starts here, so that all of them show the same facts: messages of the
gRPC API, JSON of the Lambda API, documents of the testing kit. A field is absent where an event has
nothing for it; a flag is present where it is true.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, get_args

import msgspec

from perdure_core.events import (
    Event,
    ExecutionResumed,
    ExecutionStarted,
    OperationEvent,
    StepFailed,
    StepSucceeded,
    is_public,
)
from perdure_core.model import ErrorObject
from perdure_core.payload import StoredPayload


class EpochMs(int):
    """A time, in milliseconds since 1970."""

    __slots__ = ()


class Retry(msgspec.Struct, frozen=True, gc=False):
    """The attempt that an event ends, and the delay before the next one, if there is one."""

    current_attempt: int
    next_attempt_delay_ms: int | None


FieldValue: TypeAlias = str | int | bool | EpochMs | StoredPayload | ErrorObject | Retry

# Names that differ: of the event's attribute, and of the API's field.
FIELD_NAMES: Final = {
    "timeout_s": "timeout_seconds",
    "heartbeat_timeout_s": "heartbeat_timeout_seconds",
    "function": "function_name",
    "invocation_id": "request_id",
    "started_ms": "invocation_start_timestamp",
    "scheduled_end_ms": "scheduled_end_timestamp",
    "requested_ms": "request_timestamp",
    "timeout_paused": "execution_timeout_paused",
}
_INTERNAL: Final = {"wanted", "retry_at_ms"}
# Several attributes in one field, or one attribute in several fields: see `event_fields`.
_STRUCTURED: Final = {"subject", "attempt", "next_attempt_delay_ms"}
_FLAGS: Final = {"replay_children", "diverged"}
_ATTEMPT_ENDS: Final = (StepSucceeded, StepFailed)

_Attribute: TypeAlias = tuple[str, str, Callable[[Any], FieldValue | None] | None]


def event_fields(event: Event, at_ms: int) -> dict[str, FieldValue]:
    """Return the fields of a public event that happened at `at_ms`."""
    assert is_public(event)
    kind = type(event)
    fields: dict[str, FieldValue] = {
        "event_type": kind.__name__,
        "event_timestamp": EpochMs(at_ms),
    }
    if isinstance(event, OperationEvent):
        subject = event.subject
        fields["id"] = subject.id
        if subject.name is not None:
            fields["name"] = subject.name
        if subject.sub_type is not None:
            fields["sub_type"] = subject.sub_type
        if subject.parent_id is not None:
            fields["parent_id"] = subject.parent_id
    for attribute, name, convert in _ATTRIBUTES[kind]:
        value = getattr(event, attribute)
        if convert is not None:
            value = convert(value)
        if value is not None:
            fields[name] = value
    if isinstance(event, _ATTEMPT_ENDS):
        fields["retry_details"] = Retry(event.attempt, event.next_attempt_delay_ms)
    elif isinstance(event, ExecutionResumed):
        fields["request_timestamp"] = EpochMs(at_ms)
    return fields


def _if_true(flag: Any) -> bool | None:
    return flag or None


def _attribute(attribute: str) -> _Attribute:
    name = FIELD_NAMES.get(attribute, attribute)
    if name.endswith("_timestamp"):
        return attribute, name, EpochMs
    return attribute, name, _if_true if name in _FLAGS else None


_ATTRIBUTES: Final[dict[type[Event], tuple[_Attribute, ...]]] = {
    kind: tuple(
        _attribute(attribute)
        for attribute in kind.__struct_fields__
        if attribute not in _INTERNAL | _STRUCTURED
    )
    for kind in get_args(Event)
} | {
    ExecutionStarted: (
        ("input", "input", None),
        ("timeout_s", "execution_timeout_seconds", None),
    )
}
