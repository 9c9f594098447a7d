"""Timeline of a history in colour: one line of the terminal for each event."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.text import Text

from perdure.client.models import ErrorDescription, HistoryEvent
from perdure.primitives import timeline
from perdure.primitives.timeline import (
    TimelineEvent,
    TimelineRow,
    format_duration,
    format_offset,
    one_line,
)

_OFFSET_COLUMNS: Final = 11
_EVENT_COLUMNS: Final = 22
_OPERATION_COLUMNS: Final = 28
_NOTE_COLUMNS_MAX: Final = 160
_STACK_COLUMNS: Final = 4 + 1 + _OFFSET_COLUMNS + 2
WIDE_COLUMNS_MIN: Final = 80

_STYLES: Final[tuple[tuple[str, str, str], ...]] = (
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


class Timeline:
    """Draws a history line by line; pass it the events in order, from the first.

    On a terminal of fewer than `WIDE_COLUMNS_MIN` columns nothing is aligned: lines would wrap.
    """

    def __init__(self, columns: int = WIDE_COLUMNS_MIN) -> None:
        self._rows = timeline.Timeline()
        self._wide = columns >= WIDE_COLUMNS_MIN
        # Below an event, tracebacks begin in the column of its type.
        self.stack_indent = " " * (_STACK_COLUMNS if self._wide else 2)

    def draw(self, event: HistoryEvent) -> Text:
        """Return the line of the next event."""
        row = self._rows.add(timeline_event(event))
        return format_row(row) if self._wide else format_narrow_row(row)


def timeline_event(event: HistoryEvent) -> TimelineEvent:
    """Return the fields of an event that its row is made from."""
    wire = event.wire
    retry = event.retry
    return TimelineEvent(
        event_id=event.event_id,
        event_type=event.event_type,
        at=event.at,
        operation_id=event.operation_id,
        parent_id=event.parent_id,
        name=event.name,
        sub_type=event.sub_type,
        attempt=None if retry is None else retry.attempt,
        next_attempt_delay_ms=None if retry is None else retry.next_attempt_delay_ms,
        error=None if event.error is None else format_error(event.error),
        reason=wire.reason if wire.HasField("reason") else None,
        duration_ms=wire.duration_ms if wire.HasField("duration_ms") else None,
        callback_timeout_s=wire.timeout_seconds,
        invoked_function=wire.function_name,
        invocation_started_at=_invocation_started_at(event),
    )


def format_row(row: TimelineRow) -> Text:
    """Return a row as one line."""
    glyph, style = _style(row)
    line = Text(no_wrap=True)
    line.append(f"{row.event_id:>4} ", "dim")
    line.append(f"{format_offset(row.offset):>{_OFFSET_COLUMNS}}  ", "dim")
    line.append(f"{glyph} {row.event_type:<{_EVENT_COLUMNS}} ", style)
    line.append(f"{'  ' * row.depth + row.operation:<{_OPERATION_COLUMNS}} ", "bold")
    if row.duration is not None:
        line.append(f"{format_duration(row.duration):>9}  ")
    elif row.notes:
        line.append(" " * 11)
    line.append(
        one_line(" · ".join(row.notes), _NOTE_COLUMNS_MAX), "red" if style == "red" else "default"
    )
    line.rstrip()
    return line


def format_narrow_row(row: TimelineRow) -> Text:
    """Return a row as one line without columns."""
    glyph, style = _style(row)
    line = Text(no_wrap=True)
    line.append(f"{row.event_id} {format_offset(row.offset)} ", "dim")
    line.append(f"{glyph} {row.event_type}", style)
    if row.operation:
        line.append(f" {row.operation}", "bold")
    if row.duration is not None:
        line.append(f" {format_duration(row.duration)}")
    if row.notes:
        notes = one_line(" · ".join(row.notes), _NOTE_COLUMNS_MAX)
        line.append(f" {notes}", "red" if style == "red" else "default")
    return line


def format_error(error: ErrorDescription) -> str:
    """Return an error in one line."""
    return timeline.format_error(error.error_type, error.error_message)


def stack_lines(error: ErrorDescription | None, indent: str = "  ") -> Iterator[Text]:
    """Return the frames of the user's code where it was raised, and what it came from."""
    for entry in () if error is None else error.stack_trace:
        for line in entry.splitlines():
            yield Text(f"{indent}{line}", style="dim", no_wrap=True)


def _style(row: TimelineRow) -> tuple[str, str]:
    if row.event_type == "InvocationCompleted" and row.notes:
        return "✗", "red"
    for ending, glyph, style in _STYLES:
        if row.event_type.endswith(ending):
            return glyph, style
    return "•", "default"


def _invocation_started_at(event: HistoryEvent) -> datetime | None:
    if not event.wire.HasField("invocation_start_timestamp"):
        return None
    return event.wire.invocation_start_timestamp.ToDatetime(tzinfo=event.at.tzinfo)
