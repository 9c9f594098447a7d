"""Every public event in several fillings, for tests of the renderers."""

from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec

from perdure_core.events import Event, Subject, is_public
from perdure_core.model import ErrorObject
from perdure_core.payload import StoredPayload

STORED: Final = StoredPayload(b"\x01" * 32, 300_000)
_ID: Final = "ab" * 16

_FULL: Final[dict[str, Any]] = {
    "subject": Subject("op", "a name", "Step", "parent"),
    "error": ErrorObject("why", "Sad", '{"code": 7}', ("line 1", "line 2")),
    "input": '{"in": 1}',
    "result": '{"out": 2}',
    "reason": "lunch",
    "timeout_paused": False,
    "diverged": True,
    "requested_ms": 4_000,
    "invocation_id": _ID,
    "started_ms": 3_000,
    "wanted": True,
    "retry_at_ms": 9_000,
    "replay_children": True,
    "attempt": 2,
    "next_attempt_delay_ms": 1_500,
    "duration_ms": 10_001,
    "scheduled_end_ms": 15_001,
    "callback_id": "cb",
    "timeout_s": 60,
    "heartbeat_timeout_s": 10,
    "function": "f",
    "execution_arn": "arn:perdure:child",
    "tenant_id": "tenant",
    "namespace": "default",
    "name": "n",
    "execution_id": _ID,
    "retention_days": 1,
    "trace_header": "Root=1",
    "client_context": "{}",
    "parent": None,
}
# What stands in a bare event for a field that it must have.
_LEAST: Final[dict[str, Any]] = {"subject": Subject("op"), "error": ErrorObject()}
_FILLINGS: Final[dict[str, dict[str, Any]]] = {
    "full": {},
    "stored outside": {
        "input": STORED,
        "result": STORED,
        "error": ErrorObject("the beginning", "Sad", kept=STORED),
    },
    "empty": {
        "input": "",
        "result": "",
        "reason": "",
        "error": ErrorObject("", ""),
        "timeout_s": 0,
        "heartbeat_timeout_s": 0,
        "attempt": 0,
        "next_attempt_delay_ms": 0,
        "duration_ms": 0,
        "scheduled_end_ms": 0,
        "tenant_id": "",
        "replay_children": False,
    },
    "not encodable": {"error": ErrorObject("half \ud800", "Sad", None, ("\udfff",))},
}


def public_types() -> list[type[Event]]:
    """Return the classes of all public events."""
    # `is_public` looks at the class only, and a struct does not check the types of its fields.
    return [kind for kind in get_args(Event) if is_public(kind(*kind.__struct_fields__))]


def event_cases() -> Iterator[tuple[str, Event]]:
    """Yield each public event with all fields, with the least, and so on, each under a name."""
    for kind in public_types():
        names = kind.__struct_fields__
        yield f"{kind.__name__}, bare", _bare(kind)
        for filling, fields in _FILLINGS.items():
            if filling == "full" or not fields.keys().isdisjoint(names):
                values = {name: fields.get(name, _FULL[name]) for name in names}
                yield f"{kind.__name__}, {filling}", kind(**values)


def _bare(kind: type[Event]) -> Event:
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    return kind(**{name: _LEAST.get(name, _FULL[name]) for name in required})
