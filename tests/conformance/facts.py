"""Histories as lines of text, and the differences allowed between two of them.

Every mode yields the same history, line by line: events in order, each with its place, type, name,
parent and details. This module states, in code, all that is left out or may differ:

- Invocations (`InvocationCompleted`): crashes, and what goes on in place, change their number.
- Values that come from chance or a clock: numbers and times of events, callback ids, ARNs, stack
  traces, and the results of steps that return such (`VARYING`). The execution's own events are not
  written as lines: the start repeats the test's request, the end is compared as an `End`.
- The order between the branches of one batch: `_branch_by_branch` sorts them; the order within a
  branch, and of a batch among what surrounds it, is kept.
- How far a branch got whose result is no longer awaited (`abandoned`), and when between the events
  of others a callback that is open `meanwhile` was completed: `disagreement` compares these
  operations on their own.
- After a crash, the attempt of an at-most-once step that it interrupted: `_uninterrupted` removes
  it and counts the attempts after it as if it had not been. An at-least-once step runs again under
  the start that is recorded, so its history may not differ.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from perdure import BatchItem, BatchItemStatus, BatchResult
from perdure.serdes import ExtendedTypeSerDes, SerDesContext
from perdure.testing import ExecutionHistory, HistoryEvent
from perdure.testing.history import RetryDetails
from tests.conformance.places import Places

# Longer texts are written as their length and a digest.
TEXT_CHARS_MAX: Final = 60

# Steps of this sub-type return another value in each execution; so do those of `now`.
CHANCE: Final = "Chance"
VARYING: Final = (CHANCE, "Now")
BATCHES: Final = ("Map", "Parallel")
COMPOSITIONS: Final = ("Race", "AnyOf", "AllOf")


def facts(history: ExecutionHistory, *, crashed: bool = False) -> tuple[str, ...]:
    """Return the lines of a history, of one whose worker `crashed` as if it had not."""
    events = [event for event in history.events if event.id is not None]
    places = Places(events)
    if crashed:
        events = _uninterrupted(events)
    return tuple(_line(event, places) for event in _branch_by_branch(events, places))


def disagreement(
    expected: Sequence[str],
    found: Sequence[str],
    *,
    abandoned: Sequence[str] = (),
    meanwhile: Sequence[str] = (),
) -> str | None:
    """Return both histories if they differ where they must agree; None if they agree."""
    apart = (*abandoned, *meanwhile)
    agree = _outside(apart, expected) == _outside(apart, found)
    for place in apart:
        here, there = _inside(place, found), _inside(place, expected)
        agree &= here == (there[: len(here)] if place in abandoned else there)
    return None if agree else "\n    ".join(["  expected:", *expected, "  found:", *found])


def _outside(places: Iterable[str], lines: Sequence[str]) -> list[str]:
    inside = [line for place in places for line in _inside(place, lines)]
    return [line for line in lines if line not in inside]


def _inside(place: str, lines: Sequence[str]) -> list[str]:
    return [line for line in lines if f"{line.split()[0]}-".startswith(f"{place}-")]


def _uninterrupted(events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    remaining: list[HistoryEvent] = []
    lost: dict[str | None, int] = {}
    for event in events:
        if _is_interruption(event):
            lost[event.id] = lost.get(event.id, 0) + 1
            starts = (each for each in reversed(remaining) if each.id == event.id)
            remaining.remove(next(starts))
        else:
            remaining.append(_counted_without(event, lost.get(event.id, 0)))
    return remaining


def _is_interruption(event: HistoryEvent) -> bool:
    retry, error = event.retry_details, event.error
    return (
        error is not None
        and (error.error_type or "").endswith("StepInterruptedError")
        and retry is not None
        and retry.next_attempt_delay_ms is not None
    )


def _counted_without(event: HistoryEvent, lost: int) -> HistoryEvent:
    retry = event.retry_details
    if retry is None or not lost:
        return event
    fewer = RetryDetails(retry.current_attempt - lost, retry.next_attempt_delay_ms)
    return msgspec.structs.replace(event, retry_details=fewer)


def _branch_by_branch(events: list[HistoryEvent], places: Places) -> list[HistoryEvent]:
    batches = {places[event.id] for event in events if event.sub_type in (*BATCHES, *COMPOSITIONS)}
    for batch in sorted(batches, key=lambda place: place.count("-")):
        slots = [n for n, each in enumerate(events) if places[each.id].startswith(f"{batch}-")]

        def branch(event: HistoryEvent, depth: int = len(batch.split("-"))) -> int:
            return int(places[event.id].split("-")[depth])

        for slot, event in zip(slots, sorted((events[n] for n in slots), key=branch), strict=True):
            events[slot] = event
    return events


def _line(event: HistoryEvent, places: Places) -> str:
    place, parent = places[event.id], places[event.parent_id]
    parts = [place, event.event_type]
    if event.name is not None:
        parts.append(repr(event.name))
    if not event.event_type.startswith(event.sub_type or "-"):
        parts.append(f"as {event.sub_type}")
    if parent != place.rpartition("-")[0]:
        parts.append(f"in {parent or 'the execution'}")
    return " · ".join([" ".join(parts), *_details(event)])


def _details(event: HistoryEvent) -> Iterator[str]:
    """Return the details of the event, as far as they must be the same in every mode."""
    labelled = {
        "of": event.function_name,
        "given": _text(event.input),
        "for tenant": event.tenant_id,
        # How long a body ran is measured.
        "ms": None if event.event_type.startswith("Step") else event.duration_ms,
        "timeout s": event.timeout_seconds or None,
        "heartbeat s": event.heartbeat_timeout_seconds or None,
        "=": _result(event),
    }
    yield from (f"{word} {value}" for word, value in labelled.items() if value is not None)
    yield from (word for word in ("truncated", "replay_children") if getattr(event, word))
    if (error := event.error) is not None:
        yield f"{_short(error.error_type)}: {_text(error.error_message)}"
        yield from () if error.error_data is None else (f"with {_text(error.error_data)}",)
    if (retry := event.retry_details) is not None:
        yield f"attempt {retry.current_attempt}"
        delay_ms = retry.next_attempt_delay_ms
        yield from () if delay_ms is None else (f"again in {delay_ms} ms",)


def _result(event: HistoryEvent) -> str | None:
    if event.sub_type in VARYING:
        return None
    if event.sub_type not in BATCHES or event.result is None or event.replay_children:
        return _text(event.result)
    result: BatchResult[Any] = ExtendedTypeSerDes().deserialize(event.result, SerDesContext())
    items = ", ".join(f"{item.index} {_item(item)}" for item in result.all)
    return f"{result.completion_reason.value} [{items}]"


def _item(item: BatchItem[Any]) -> str:
    if item.error is not None:
        return f"{_short(item.error.type)}: {item.error.message}"
    if item.status is BatchItemStatus.STARTED:
        return "STARTED"
    return _text(json.dumps(item.result)) or ""


def _short(error_type: str | None) -> str:
    return (error_type or "").removeprefix("perdure.exceptions.")


def _text(text: str | None) -> str | None:
    if text is None or len(text) <= TEXT_CHARS_MAX:
        return text and " ".join(text.split())
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{len(text):,} characters ({digest})"
