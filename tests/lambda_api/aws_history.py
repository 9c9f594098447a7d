"""The history of an execution as boto3 tells it, in values that tests write down and compare.

What differs from run to run is left out or replaced: times, ids of requests, callbacks and
executions. Ids of operations are told by their places: `"2-1"` is the first operation inside the
second one. An id is accepted only if it is the one that the SDK makes for that place.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from tests.hosting.hosted import HostedMachine

# The highest number of an operation in its context that is looked for.
NUMBER_MAX: Final = 60
LEFT_OUT: Final = {"StartTimestamp", "EndTimestamp", "ScheduledEndTimestamp", "RequestId"}
SOME: Final = "(some)"
# What functions are given where their files say nothing else: 366 days.
EXECUTION_TIMEOUT_S: Final = 31_622_400
# What handlers wait for: long enough for an invocation to end before, on a busy machine.
LATER_S: Final = 3
REPLACED: Final = {"CallbackId", "DurableExecutionArn"}


class Told(NamedTuple):
    """An event; `place` and `parent` are places of operations, "" for none."""

    kind: str
    place: str = ""
    name: str | None = None
    sub_type: str | None = None
    parent: str = ""
    details: dict[str, Any] = {}  # noqa: RUF012 - never changed


INVOKED: Final = Told("InvocationCompleted")


def held(payload: object) -> dict[str, Any]:
    """Return how an event holds a payload."""
    return {"Payload": payload, "Truncated": False}


def started(event: object) -> Told:
    """Return the first event of an execution that is given this event."""
    given = {"Input": held(json.dumps(event)), "ExecutionTimeout": EXECUTION_TIMEOUT_S}
    return Told("ExecutionStarted", details=given)


def succeeded(result: object) -> Told:
    """Return the last event of an execution that has come to this result."""
    return Told("ExecutionSucceeded", details={"Result": held(json.dumps(result))})


def history(hosted: HostedMachine, arn: str, **options: Any) -> list[Told]:
    """Return the whole history of an execution, with payloads unless options say otherwise."""
    walk = hosted.client.get_paginator("get_durable_execution_history").paginate
    arguments = {"IncludeExecutionData": True, **options}
    pages = walk(DurableExecutionArn=arn, **arguments)
    events = [event for page in pages for event in page["Events"]]
    assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
    places = Places()
    return [_told(event, places) for event in events]


def kinds(told: Iterable[Told]) -> list[str]:
    """Return the types of events."""
    return [each.kind for each in told]


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
    if parent:
        yield from (f"{branch}-{number}" for branch in inside for number in range(1, NUMBER_MAX))


def _told(event: dict[str, Any], places: Places) -> Told:
    kind = event["EventType"]
    details = _comparable(event.get(f"{kind}Details", {}))
    if kind.startswith(("Execution", "Invocation")):
        return Told(kind, details=details)
    parent = places.known(event.get("ParentId"))
    place = places.find(event["Id"], parent)
    return Told(kind, place, event.get("Name"), event.get("SubType"), parent, details)


def _comparable(details: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs from run to run, at any depth."""
    kept: dict[str, Any] = {}
    for key, value in details.items():
        if key in LEFT_OUT:
            assert value, key
        elif key in REPLACED:
            kept[key] = SOME if value else value
        else:
            inner = isinstance(value, dict)
            kept[key] = _comparable(cast("dict[str, Any]", value)) if inner else value
    return kept
