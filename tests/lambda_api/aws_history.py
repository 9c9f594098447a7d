"""The history of an execution as boto3 returns it, as rows that tests compare.

Values that differ from run to run are left out or replaced: times, ids of requests, callbacks and
executions. Ids of operations are written as their places: `"2-1"` is the first operation inside the
second one. An id is accepted only if it is the one that the SDK makes for that place.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from tests.hosting.hosted import HostedMachine
from tests.hosting.paced import Played

# The highest number of an operation in its context that is looked for.
NUMBER_MAX: Final = 60
LEFT_OUT: Final = {"StartTimestamp", "EndTimestamp", "ScheduledEndTimestamp", "RequestId"}
SOME: Final = "(some)"
# The default execution timeout of functions: 366 days.
EXECUTION_TIMEOUT_S: Final = 31_622_400
# The default wait of the programs.
LATER_S: Final = 60
REPLACED: Final = {"CallbackId", "DurableExecutionArn"}
_REQUEST: Final = re.compile("^RequestId: [0-9a-f]{32}")


class Row(NamedTuple):
    """An event; `place` and `parent` are places of operations, "" for none."""

    kind: str
    place: str = ""
    name: str | None = None
    sub_type: str | None = None
    parent: str = ""
    details: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True)
class Operation:
    """An operation expected in a history, by its place and the place of its parent."""

    place: str
    name: str
    sub_type: str
    parent: str = ""

    def row(self, kind: str, **details: Any) -> Row:
        """Return one of its events."""
        return Row(kind, self.place, self.name, self.sub_type, self.parent, details)

    def context(self, result: Any) -> tuple[Row, Row]:
        """Return the events of a context around those of its children."""
        return self.row("ContextStarted"), self.row("ContextSucceeded", Result=recorded(result))

    def broken(self, error: dict[str, Any]) -> tuple[Row, Row]:
        """Return the events of a context that fails around those of its children."""
        return self.row("ContextStarted"), self.row("ContextFailed", Error=error)

    def step(self, result: Any, attempt: int = 1, delay_s: int | None = None) -> list[Row]:
        """Return the events of an attempt that succeeds; a poll may be followed by another."""
        details = {"Result": recorded(result), "RetryDetails": _retry(attempt, delay_s)}
        return [self.row("StepStarted"), self.row("StepSucceeded", **details)]

    def failing(
        self, error: dict[str, Any], attempt: int = 1, delay_s: int | None = None
    ) -> list[Row]:
        """Return the events of an attempt that fails; without a delay it is the last one."""
        details = {"Error": error, "RetryDetails": _retry(attempt, delay_s)}
        return [self.row("StepStarted"), self.row("StepFailed", **details)]

    def waiting(self, seconds: int = LATER_S) -> list[Row]:
        """Return the events of a wait that outlasts the invocation."""
        start = self.row("WaitStarted", Duration=seconds)
        return [start, INVOKED, self.row("WaitSucceeded", Duration=seconds)]


INVOKED: Final = Row("InvocationCompleted")
# The runtime's error when a handler kills its process.
KILLED: Final = Row(
    "InvocationCompleted",
    details={
        "Error": {
            "Payload": {
                "ErrorMessage": f"RequestId: {SOME} Error: Runtime exited with error:"
                " signal: killed",
                "ErrorType": "Runtime.ExitError",
            },
            "Truncated": False,
        }
    },
)


def _retry(attempt: int, delay_s: int | None) -> dict[str, int]:
    following = {} if delay_s is None else {"NextAttemptDelaySeconds": delay_s}
    return {"CurrentAttempt": attempt, **following}


def held(payload: object) -> dict[str, Any]:
    """Return a payload as events contain it."""
    return {"Payload": payload, "Truncated": False}


def recorded(value: Any) -> dict[str, Any]:
    """Return a handler's value as events contain it; None stands for the payload "null"."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return held(text)


def failure(message: str, kind: str = "ValueError", **more: str) -> dict[str, Any]:
    """Return an error as events contain it."""
    return held({"ErrorMessage": message, "ErrorType": kind, **more})


def started(event: object) -> Row:
    """Return the first event of an execution with this input."""
    details = {"Input": held(json.dumps(event)), "ExecutionTimeout": EXECUTION_TIMEOUT_S}
    return Row("ExecutionStarted", details=details)


def succeeded(result: object) -> Row:
    """Return the last event of an execution with this result."""
    return Row("ExecutionSucceeded", details={"Result": held(json.dumps(result))})


def success(played: Played, *between: Row) -> list[Row]:
    """Return the whole history of an execution that succeeds in its last invocation."""
    return [started(played.event), *between, INVOKED, succeeded(played.result)]


def history(hosted: HostedMachine, arn: str, **options: Any) -> list[Row]:
    """Return the whole history of an execution, by default with payloads."""
    walk = hosted.client.get_paginator("get_durable_execution_history").paginate
    arguments = {"IncludeExecutionData": True, **options}
    pages = walk(DurableExecutionArn=arn, **arguments)
    events = [event for page in pages for event in page["Events"]]
    assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
    places = Places()
    return [_row(event, places) for event in events]


def batch_result(row: Row) -> dict[str, Any]:
    """Remove the recorded BatchResult from the end of a batch; return it as plain values."""
    wire = json.loads(row.details["Result"].pop("Payload"))
    assert wire["t"] == "br"
    plain: dict[str, Any] = _unwrapped(wire)
    return plain


def _unwrapped(wire: Any) -> Any:
    """Return the values in the SDK's envelopes of types and values."""
    tag, value = wire["t"], wire["v"]
    if tag in ("m", "br"):
        return {key: _unwrapped(each) for key, each in value.items()}
    return [_unwrapped(each) for each in value] if tag == "l" else value


def place_id(place: str) -> str:
    """Return the id of the operation at a place: section 1.8 of the reference of the SDK."""
    identifier = ""
    for number in place.split("-"):
        path = f"{identifier}-{number}" if identifier else number
        identifier = hashlib.blake2b(path.encode()).hexdigest()[:64]
    return identifier


class Places:
    """Finds the places of operations by their ids, each under the parent that it names."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def find(self, identifier: str, parent: str) -> str:
        """Return the place of an operation under a parent's place ("": the handler)."""
        if identifier not in self._known:
            for place in _candidates(parent):
                if place_id(place) == identifier:
                    self._known[identifier] = place
                    break
            else:
                raise AssertionError(f"no place under {parent!r} has the id {identifier}")
        return self._known[identifier]

    def known(self, identifier: str | None) -> str:
        """Return the place of an operation that was seen before; "" without an id."""
        return "" if identifier is None else self._known[identifier]


def _candidates(parent: str) -> Iterator[str]:
    """Yield places under a parent, then those under branches of it that are not recorded."""
    inside = [f"{parent}-{number}" if parent else str(number) for number in range(NUMBER_MAX)]
    yield from inside
    yield from (f"{branch}-{number}" for branch in inside for number in range(1, NUMBER_MAX))


def _row(event: dict[str, Any], places: Places) -> Row:
    kind = event["EventType"]
    details = _comparable(event.get(f"{kind}Details", {}))
    if kind.startswith(("Execution", "Invocation")):
        return Row(kind, details=details)
    parent = places.known(event.get("ParentId"))
    place = places.find(event["Id"], parent)
    return Row(kind, place, event.get("Name"), event.get("SubType"), parent, details)


def _comparable(details: dict[str, Any]) -> dict[str, Any]:
    """Remove values that differ from run to run, at any depth."""
    comparable: dict[str, Any] = {}
    for key, value in details.items():
        if key in LEFT_OUT:
            assert value, key
        elif key in REPLACED:
            comparable[key] = SOME if value else value
        elif key == "ErrorMessage":
            comparable[key] = _REQUEST.sub(f"RequestId: {SOME}", value)
        else:
            inner = isinstance(value, dict)
            comparable[key] = _comparable(cast("dict[str, Any]", value)) if inner else value
    return comparable
