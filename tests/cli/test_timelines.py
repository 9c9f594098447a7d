"""Timelines of histories: when, what, how long, which attempt, why."""

from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.client.models import read_event
from perdure.primitives.timeline import Timeline, TimelineRow
from perdure_cli.timelines import Timeline as DrawnTimeline
from perdure_cli.timelines import format_row, timeline_event
from perdure_proto.v1 import model_pb2

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def an_event(event_id: int, event_type: str, at_s: float, **fields: Any) -> model_pb2.Event:
    event = model_pb2.Event(event_id=event_id, event_type=event_type, **fields)
    event.event_timestamp.FromDatetime(NOON + timedelta(seconds=at_s))
    return event


def rows(*events: model_pb2.Event) -> list[TimelineRow]:
    timeline = Timeline()
    return [timeline.add(timeline_event(read_event(event))) for event in events]


def step(event_id: int, event_type: str, at_s: float, **fields: Any) -> model_pb2.Event:
    return an_event(event_id, event_type, at_s, id="s", name="charge", **fields)


STARTED = an_event(1, "ExecutionStarted", 0)


def test_times_are_offsets_from_the_start() -> None:
    assert [row.offset for row in rows(STARTED, step(2, "StepStarted", 1.5))] == [
        timedelta(0),
        timedelta(seconds=1.5),
    ]


def test_an_end_shows_how_long_its_operation_took() -> None:
    (_, begin, end) = rows(STARTED, step(2, "StepStarted", 1), step(3, "StepSucceeded", 1.25))
    assert (begin.duration, end.duration) == (None, timedelta(seconds=0.25))


def test_an_attempt_that_says_how_long_it_ran_is_believed() -> None:
    (_, _, failed, succeeded) = rows(
        STARTED,
        step(2, "StepStarted", 1),
        step(3, "StepFailed", 1, duration_ms=45),
        step(4, "StepSucceeded", 1, duration_ms=0),
    )
    assert (failed.duration, succeeded.duration) == (timedelta(milliseconds=45), timedelta(0))


def test_each_attempt_of_a_step_is_timed_on_its_own() -> None:
    failure = model_pb2.ErrorObject(error_type="Down", error_message="no answer")
    retry = model_pb2.RetryDetails(current_attempt=1, next_attempt_delay_ms=5_000)
    (_, _, failed, second, succeeded) = rows(
        STARTED,
        step(2, "StepStarted", 0),
        step(3, "StepFailed", 1, error=failure, retry_details=retry),
        step(4, "StepStarted", 6),
        step(5, "StepSucceeded", 8, retry_details=model_pb2.RetryDetails(current_attempt=2)),
    )
    assert failed.notes == ("attempt 1", "Down: no answer", "again in 5.0 s")
    assert second.notes == ("attempt 2",)
    assert (succeeded.notes, succeeded.duration) == (("attempt 2",), timedelta(seconds=2))


def test_a_first_attempt_that_succeeds_needs_no_number() -> None:
    retry = model_pb2.RetryDetails(current_attempt=1)
    (_, end) = rows(step(2, "StepStarted", 0), step(3, "StepSucceeded", 1, retry_details=retry))
    assert end.notes == ()


def test_the_end_of_the_execution_shows_how_long_it_took() -> None:
    (_, end) = rows(STARTED, an_event(2, "ExecutionSucceeded", 90))
    assert (end.operation, end.duration) == ("", timedelta(seconds=90))


def test_a_pause_is_not_an_end() -> None:
    (_, paused) = rows(STARTED, an_event(2, "ExecutionPaused", 90, reason="lunch"))
    assert (paused.duration, paused.notes) == (None, ("lunch",))


def test_an_invocation_is_timed_from_its_own_start() -> None:
    done = an_event(2, "InvocationCompleted", 9)
    done.invocation_start_timestamp.FromDatetime(NOON + timedelta(seconds=7))
    assert rows(STARTED, done)[1].duration == timedelta(seconds=2)


def test_operations_in_a_context_are_indented_below_it() -> None:
    (outer, inner, leaf) = rows(
        an_event(1, "ContextStarted", 0, id="a", name="outer"),
        an_event(2, "ContextStarted", 0, id="b", parent_id="a", name="inner"),
        an_event(3, "StepStarted", 0, id="c", parent_id="b", name="leaf"),
    )
    assert [outer.depth, inner.depth, leaf.depth] == [0, 1, 2]


def test_an_operation_without_a_name_is_called_by_its_kind() -> None:
    (row,) = rows(an_event(1, "WaitStarted", 0, id="w", sub_type="Wait", duration_ms=90_000))
    assert (row.operation, row.notes) == ("Wait", ("for 1 min 30 s",))


def test_a_callback_shows_when_it_times_out() -> None:
    (row,) = rows(an_event(1, "CallbackStarted", 0, id="c", name="ok", timeout_seconds=180))
    assert row.notes == ("times out in 3 min 00 s",)


def test_a_chained_invoke_shows_its_function() -> None:
    (row,) = rows(an_event(1, "ChainedInvokeStarted", 0, id="i", function_name="ship"))
    assert row.notes == ("ship",)


def test_an_event_of_a_newer_server_has_a_line_too() -> None:
    (row,) = rows(an_event(1, "DreamEntered", 0))
    assert "DreamEntered" in format_row(row).plain


def test_a_line_has_its_parts_in_columns() -> None:
    (_, end) = rows(step(2, "StepStarted", 0), step(3, "StepSucceeded", 1.5))
    assert format_row(end).plain == (
        "   3    +1.500 s  ✓ StepSucceeded          charge                           1.5 s"
    )


def test_a_message_of_many_lines_stays_on_its_line() -> None:
    failure = model_pb2.ErrorObject(error_type="Down", error_message="one\ntwo" + "x" * 1_000)
    (row,) = rows(step(1, "StepFailed", 0, error=failure))
    line = format_row(row).plain
    assert "\n" not in line
    assert line.endswith("…")


def test_a_narrow_terminal_gets_lines_without_columns() -> None:
    event = read_event(step(1, "StepSucceeded", 0, duration_ms=45))
    assert DrawnTimeline(40).draw(event).plain == "1 +0.000 s ✓ StepSucceeded charge 45 ms"
