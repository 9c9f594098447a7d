"""A history as a timeline: one line for each event, with what people ask of it worked out.

An event says that something ended; how long it took, which attempt it was and where it lies in
the tree of contexts follow from the events before it. `Timeline` is that fold; it serves whole
histories and ones that are followed alike. `format_row` draws a row.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rich.text import Text

from perdure.client.models import ErrorDescription, HistoryEvent
from perdure_cli.durations import format_duration, format_offset

_OFFSET_COLUMNS: Final = 11
_EVENT_COLUMNS: Final = 22
_OPERATION_COLUMNS: Final = 28
_NOTE_COLUMNS_MAX: Final = 160

_LOOKS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Succeeded", "✓", "green"),
    ("Failed", "✗", "red"),
    ("TimedOut", "✗", "red"),
    ("Stopped", "■", "red"),
    ("Cancelled", "■", "yellow"),
    ("Paused", "‖", "yellow"),
    ("Resumed", "▶", "yellow"),
    ("Started", "▶", "cyan"),
    ("Completed", "·", "dim"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineRow:
    """One event, with what the events before it say about it."""

    event_id: int
    event_type: str
    # Since the execution started.
    offset: timedelta
    # What the event is about; empty for the execution itself.
    operation: str
    # How many contexts lie around the operation.
    depth: int
    # What the event ends took so long; None when it ends nothing.
    duration: timedelta | None
    notes: tuple[str, ...]


@dataclass(slots=True)
class Timeline:
    """The fold of a history into rows; feed it the events in order, from the first."""

    _began_at: datetime | None = None
    _started_at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _attempts: dict[str, int] = field(default_factory=dict[str, int])
    _depths: dict[str, int] = field(default_factory=dict[str, int])

    def read(self, event: HistoryEvent) -> TimelineRow:
        """Return the row of the next event."""
        self._began_at = self._began_at or event.at
        notes = self._notes(event)
        return TimelineRow(
            event_id=event.event_id,
            event_type=event.event_type,
            offset=event.at - self._began_at,
            operation=_operation_name(event),
            depth=self._depth(event),
            duration=self._duration(event),
            notes=notes,
        )

    def _depth(self, event: HistoryEvent) -> int:
        depth = 0 if event.parent_id is None else self._depths.get(event.parent_id, 0) + 1
        if event.operation_id is not None:
            self._depths[event.operation_id] = depth
        return depth

    def _duration(self, event: HistoryEvent) -> timedelta | None:
        if event.event_type == "InvocationCompleted":
            return _invocation_duration(event)
        if event.operation_id is None:
            return self._execution_duration(event)
        if event.event_type.endswith("Started"):
            self._started_at[event.operation_id] = event.at
            return None
        started_at = self._started_at.get(event.operation_id)
        return None if started_at is None else event.at - started_at

    def _execution_duration(self, event: HistoryEvent) -> timedelta | None:
        if event.event_type.endswith(("Started", "Paused", "Resumed")) or self._began_at is None:
            return None
        return event.at - self._began_at

    def _notes(self, event: HistoryEvent) -> tuple[str, ...]:
        notes = [*self._attempt_notes(event), *_plan_notes(event)]
        if event.error is not None:
            notes.append(format_error(event.error))
        if event.retry is not None and event.retry.next_attempt_delay_ms is not None:
            delay = timedelta(milliseconds=event.retry.next_attempt_delay_ms)
            notes.append(f"again in {format_duration(delay)}")
        if event.wire.HasField("reason"):
            notes.append(event.wire.reason)
        return tuple(notes)

    def _attempt_notes(self, event: HistoryEvent) -> list[str]:
        if event.event_type == "StepStarted" and event.operation_id is not None:
            attempt = self._attempts.get(event.operation_id, 0) + 1
            self._attempts[event.operation_id] = attempt
            return [f"attempt {attempt}"] if attempt > 1 else []
        if event.retry is not None and (event.retry.attempt > 1 or event.error is not None):
            return [f"attempt {event.retry.attempt}"]
        return []


def format_row(row: TimelineRow) -> Text:
    """Draw a row on one line."""
    glyph, style = _look(row)
    line = Text(no_wrap=True)
    line.append(f"{row.event_id:>4} ", "dim")
    line.append(f"{format_offset(row.offset):>{_OFFSET_COLUMNS}}  ", "dim")
    line.append(f"{glyph} {row.event_type:<{_EVENT_COLUMNS}} ", style)
    line.append(f"{'  ' * row.depth + row.operation:<{_OPERATION_COLUMNS}} ", "bold")
    if row.duration is not None:
        line.append(f"{format_duration(row.duration):>9}  ")
    elif row.notes:
        line.append(" " * 11)
    line.append(_shortened(" · ".join(row.notes)), "red" if style == "red" else "default")
    line.rstrip()
    return line


def format_error(error: ErrorDescription) -> str:
    """Return an error in one line."""
    parts = [part for part in (error.error_type, error.error_message) if part]
    return ": ".join(parts) or "no reason given"


def _look(row: TimelineRow) -> tuple[str, str]:
    if row.event_type == "InvocationCompleted" and row.notes:
        return "✗", "red"
    for ending, glyph, style in _LOOKS:
        if row.event_type.endswith(ending):
            return glyph, style
    return "•", "default"


def _operation_name(event: HistoryEvent) -> str:
    if event.name:
        return event.name
    if event.operation_id is None:
        return ""
    return event.sub_type or event.operation_id[:8]


def _invocation_duration(event: HistoryEvent) -> timedelta | None:
    if not event.wire.HasField("invocation_start_timestamp"):
        return None
    started_at = event.wire.invocation_start_timestamp.ToDatetime(tzinfo=event.at.tzinfo)
    return event.at - started_at


def _plan_notes(event: HistoryEvent) -> list[str]:
    """Say what a start asked for: how long to wait, until when, which function."""
    wire = event.wire
    match event.event_type:
        case "WaitStarted" if wire.HasField("duration_ms"):
            return [f"for {format_duration(timedelta(milliseconds=wire.duration_ms))}"]
        case "CallbackStarted" if wire.timeout_seconds:
            return [f"times out in {format_duration(timedelta(seconds=wire.timeout_seconds))}"]
        case "ChainedInvokeStarted":
            return [wire.function_name]
        case _:
            return []


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _NOTE_COLUMNS_MAX else flat[: _NOTE_COLUMNS_MAX - 1] + "…"
