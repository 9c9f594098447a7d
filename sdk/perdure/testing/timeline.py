"""A history as text for people: one line for each event, for the report of a failing test."""

from datetime import datetime, timedelta
from typing import Final

from perdure.testing.history import ExecutionHistory, HistoryEvent

_TEXT_CHARS_MAX: Final = 120
# Longer histories are cut in the middle: how it began and how it ended is what people look for.
_LINES_MAX: Final = 200


def timeline(history: ExecutionHistory) -> str:
    """Return one line for each event: since when, what, of what, with what result."""
    if not history.events:
        return "no events"
    began_at = history.events[0].event_timestamp
    depths: dict[str, int] = {}
    lines = [_line(event, began_at, _depth(event, depths)) for event in history.events]
    return "\n".join([f"{history.execution_arn}  {history.status}", *_shortened(lines)])


def duration_text(duration: timedelta) -> str:
    """Return a duration in the two largest units that it fills."""
    milliseconds = duration // timedelta(milliseconds=1)
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _line(event: HistoryEvent, began_at: datetime, depth: int) -> str:
    offset = f"+{duration_text(event.event_timestamp - began_at)}"
    subject = "  " * depth + (event.name or event.sub_type or (event.id or "")[:8])
    notes = " · ".join(_flat(note) for note in _notes(event) if note)
    line = f"{event.event_id:>4} {offset:>10}  {event.event_type:<23} {subject}  {notes}"
    return line.rstrip()


def _notes(event: HistoryEvent) -> list[str]:
    notes: list[str] = []
    if event.retry_details is not None and event.retry_details.current_attempt > 1:
        notes.append(f"attempt {event.retry_details.current_attempt}")
    if event.event_type == "WaitStarted" and event.duration_ms is not None:
        notes.append(f"for {duration_text(timedelta(milliseconds=event.duration_ms))}")
    if event.event_type == "ChainedInvokeStarted":
        notes.append(f"of {event.function_name}")
    notes += [f"{what} {text}" for what, text in (("in", event.input), ("=", event.result)) if text]
    if event.error is not None:
        notes.append(f"{event.error.error_type}: {event.error.error_message}")
    if event.retry_details is not None and event.retry_details.next_attempt_delay_ms is not None:
        delay = timedelta(milliseconds=event.retry_details.next_attempt_delay_ms)
        notes.append(f"again in {duration_text(delay)}")
    if event.reason:
        notes.append(event.reason)
    return notes


def _depth(event: HistoryEvent, depths: dict[str, int]) -> int:
    depth = 0 if event.parent_id is None else depths.get(event.parent_id, 0) + 1
    if event.id is not None:
        depths[event.id] = depth
    return depth


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _TEXT_CHARS_MAX else flat[: _TEXT_CHARS_MAX - 1] + "…"


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _LINES_MAX:
        return lines
    half = _LINES_MAX // 2
    return [*lines[:half], f"     … {len(lines) - 2 * half:,} more …", *lines[-half:]]
