"""Events of a history as messages of the gRPC API."""

from collections.abc import Callable
from typing import Any, Final

from perdure_core.event_fields import EpochMs, Retry, event_fields
from perdure_core.model import ErrorObject
from perdure_core.payload import StoredPayload
from perdure_host.codec import MS_PER_S, NS_PER_MS, error_to_message
from perdure_host.services import NumberedEvent
from perdure_proto.v1 import model_pb2

_SCALARS: Final = frozenset({str, int, bool})
_PAYLOADS: Final = frozenset({"input", "result", "error"})


def event_to_message(numbered: NumberedEvent, *, exclude_data: bool = False) -> model_pb2.Event:
    """Return the message of a public event, without its payloads if `exclude_data`.

    A payload that is stored outside is left out in any case, unless it was loaded before.
    """
    fields: dict[str, Any] = {"event_id": numbered.event_id}
    for name, value in event_fields(numbered.event, numbered.at_ms).items():
        kind = type(value)
        if kind is StoredPayload or (exclude_data and name in _PAYLOADS):
            fields["truncated"] = True
        elif kind in _SCALARS:
            fields[name] = value
        else:
            fields[name] = _SUBMESSAGES[kind](value)
    return model_pb2.Event(**fields)


# The constructor of a message takes dicts for messages below it, which costs half of making them.


def _timestamp(at_ms: EpochMs) -> dict[str, int]:
    seconds, ms = divmod(at_ms, MS_PER_S)
    return {"seconds": seconds, "nanos": ms * NS_PER_MS}


def _retry_details(retry: Retry) -> dict[str, int | None]:
    return {
        "current_attempt": retry.current_attempt,
        "next_attempt_delay_ms": retry.next_attempt_delay_ms,
    }


_SUBMESSAGES: Final[dict[type, Callable[[Any], object]]] = {
    EpochMs: _timestamp,
    ErrorObject: error_to_message,
    Retry: _retry_details,
}
