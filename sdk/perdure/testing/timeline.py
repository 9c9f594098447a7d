"""Timeline of a history as text: one line for each event, for the report of a failing test."""

from typing import Final

from perdure.primitives.timeline import (
    Timeline,
    TimelineEvent,
    TimelineRow,
    format_duration,
    format_error,
    one_line,
)
from perdure.testing.history import ExecutionHistory, HistoryEvent

_TEXT_CHARS_MAX: Final = 120
# Longer histories are cut in the middle, since their beginning and end say most.
_LINES_MAX: Final = 200


def timeline(history: ExecutionHistory) -> str:
    """Return one line for each event: when since the start, the event, its operation, its data."""
    if not history.events:
        return "no events"
    rows = Timeline()
    lines = [_line(rows.add(_timeline_event(event)), event) for event in history.events]
    return "\n".join([f"{history.execution_arn}  {history.status}", *_shortened(lines)])


def _timeline_event(event: HistoryEvent) -> TimelineEvent:
    retry = event.retry_details
    error = event.error
    return TimelineEvent(
        event_id=event.event_id,
        event_type=event.event_type,
        at=event.event_timestamp,
        operation_id=event.id,
        parent_id=event.parent_id,
        name=event.name,
        sub_type=event.sub_type,
        attempt=None if retry is None else retry.current_attempt,
        next_attempt_delay_ms=None if retry is None else retry.next_attempt_delay_ms,
        error=None if error is None else format_error(error.error_type, error.error_message),
        reason=event.reason,
        duration_ms=event.duration_ms,
        callback_timeout_s=event.timeout_seconds,
        invoked_function=event.function_name,
        invocation_started_at=event.invocation_start_timestamp,
    )


def _line(row: TimelineRow, event: HistoryEvent) -> str:
    offset = f"+{format_duration(row.offset)}"
    operation = "  " * row.depth + row.operation
    data = [f"{label} {text}" for label, text in (("in", event.input), ("=", event.result)) if text]
    notes = " · ".join(one_line(each, _TEXT_CHARS_MAX) for each in (*data, *row.notes))
    return f"{row.event_id:>4} {offset:>13}  {row.event_type:<23} {operation}  {notes}".rstrip()


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _LINES_MAX:
        return lines
    half = _LINES_MAX // 2
    return [*lines[:half], f"     … {len(lines) - 2 * half:,} more …", *lines[-half:]]
