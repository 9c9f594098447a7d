"""Timeline of a history: one row for each event, and durations as text.

An event says that something ended; how long it took, which attempt it was and how deep it lies in
the tree of contexts follow from the events before it. `Timeline` is the fold that works this out,
for whole histories and for those that are still being followed. Drawing is the caller's: the
`perdure` command draws in colour, the testing kit as text.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from perdure_core.text import cut_chars

_ID_CHARS: Final = 8
# Events that say themselves how long the body took: its start may be recorded with its end.
_TIMED: Final = ("StepSucceeded", "StepFailed")

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineEvent:
    """The fields of an event that its row is made from; None where the event has none."""

    event_id: int
    event_type: str
    at: datetime
    operation_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    # The attempt that the event ends, and when the next one follows.
    attempt: int | None = None
    next_attempt_delay_ms: int | None = None
    # The error in one line.
    error: str | None = None
    reason: str | None = None
    # Of the wait, or of the body of the attempt that the event ends.
    duration_ms: int | None = None
    callback_timeout_s: int | None = None
    invoked_function: str | None = None
    invocation_started_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineRow:
    """One event, with what follows from the events before it."""

    event_id: int
    event_type: str
    # Since the execution started.
    offset: timedelta
    # The operation's name; empty for the execution itself.
    operation: str
    # The number of contexts around the operation.
    depth: int
    # How long what the event ends has taken; None when it ends nothing.
    duration: timedelta | None
    notes: tuple[str, ...]


@dataclass(slots=True)
class Timeline:
    """The fold of a history into rows; pass it the events in order, from the first."""

    _began_at: datetime | None = None
    _started_at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _attempts: dict[str, int] = field(default_factory=dict[str, int])
    _depths: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, event: TimelineEvent) -> TimelineRow:
        """Return the row of the next event."""
        self._began_at = self._began_at or event.at
        return TimelineRow(
            event_id=event.event_id,
            event_type=event.event_type,
            offset=event.at - self._began_at,
            operation=_operation_name(event),
            depth=self._depth(event),
            duration=self._duration(event, self._began_at),
            notes=tuple(self._notes(event)),
        )

    def _depth(self, event: TimelineEvent) -> int:
        depth = 0 if event.parent_id is None else self._depths.get(event.parent_id, 0) + 1
        if event.operation_id is not None:
            self._depths[event.operation_id] = depth
        return depth

    def _duration(self, event: TimelineEvent, began_at: datetime) -> timedelta | None:
        if event.event_type in _TIMED and event.duration_ms is not None:
            return timedelta(milliseconds=event.duration_ms)
        if event.event_type == "InvocationCompleted":
            started_at = event.invocation_started_at
        elif event.operation_id is not None:
            started_at = self._operation_started_at(event, event.operation_id)
        elif event.event_type.endswith(("Started", "Paused", "Resumed")):
            started_at = None
        else:
            started_at = began_at
        return None if started_at is None else event.at - started_at

    def _operation_started_at(self, event: TimelineEvent, operation_id: str) -> datetime | None:
        """Return when the attempt began that the event ends; None for a start, which is noted."""
        if event.event_type.endswith("Started"):
            self._started_at[operation_id] = event.at
            return None
        return self._started_at.get(operation_id)

    def _notes(self, event: TimelineEvent) -> list[str]:
        notes = [*self._attempt_notes(event), *_start_notes(event)]
        if event.error is not None:
            notes.append(event.error)
        if event.next_attempt_delay_ms is not None:
            delay = timedelta(milliseconds=event.next_attempt_delay_ms)
            notes.append(f"again in {format_duration(delay)}")
        if event.reason is not None:
            notes.append(event.reason)
        return notes

    def _attempt_notes(self, event: TimelineEvent) -> list[str]:
        if event.event_type == "StepStarted" and event.operation_id is not None:
            attempt = self._attempts.get(event.operation_id, 0) + 1
            self._attempts[event.operation_id] = attempt
            return [f"attempt {attempt}"] if attempt > 1 else []
        if event.attempt is not None and (event.attempt > 1 or event.error is not None):
            return [f"attempt {event.attempt}"]
        return []


def format_duration(duration: timedelta) -> str:
    """Return the two most significant units: 12 ms, 3.2 s, 2 min 05 s, 3 h 20 min, 4 d 3 h."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1_000)} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def format_offset(duration: timedelta) -> str:
    """Return the time since the start, to the millisecond while it is short."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < _HOUR_S:
        return f"+{seconds:.3f} s"
    return f"+{format_duration(duration)}"


def format_error(error_type: str | None, error_message: str | None) -> str:
    """Return an error in one line."""
    return ": ".join(part for part in (error_type, error_message) if part) or "no reason given"


def one_line(text: str, chars_max: int) -> str:
    """Return `text` on one line, cut where it is longer."""
    return cut_chars(" ".join(text.split()), chars_max)


def _operation_name(event: TimelineEvent) -> str:
    return event.name or event.sub_type or (event.operation_id or "")[:_ID_CHARS]


def _start_notes(event: TimelineEvent) -> list[str]:
    """Return the length of a wait, the timeout of a callback, the function of an invoke."""
    match event.event_type:
        case "WaitStarted" if event.duration_ms is not None:
            return [f"for {format_duration(timedelta(milliseconds=event.duration_ms))}"]
        case "CallbackStarted" if event.callback_timeout_s:
            return [f"times out in {format_duration(timedelta(seconds=event.callback_timeout_s))}"]
        case "ChainedInvokeStarted" if event.invoked_function is not None:
            return [event.invoked_function]
        case _:
            return []
