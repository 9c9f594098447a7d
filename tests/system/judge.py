"""Checks of a chaos run: the system's histories against the ledger.

Each check yields its problems; a run without any is right.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perdure.client import ExecutionDescription, HistoryEvent, RetryDescription
from perdure.client.models import decode_payload, read_time
from tests.system.ledger import Entry

AT_MOST_ONCE_STEPS = ("pay", "ship")
STEPS = ("price", "pay", "ship")


@dataclass(frozen=True, kw_only=True)
class OrderReport:
    """The system's report of one order."""

    order: str
    rest_s: int
    execution: ExecutionDescription
    history: Sequence[HistoryEvent]


def problems(entries: Sequence[Entry], reports: Sequence[OrderReport]) -> list[str]:
    """Return every problem of the run."""
    found = list(check_attempts(entries))
    by_order: dict[str, list[Entry]] = {}
    for entry in entries:
        by_order.setdefault(entry.order, []).append(entry)
    for each in reports:
        written = by_order.get(each.order, [])
        for rule in (
            check_ends(each),
            check_step_results(each, written),
            check_approval(each, written),
            check_waits(each, written),
            check_timers(each),
        ):
            found.extend(f"{each.order}: {problem}" for problem in rule)
    return found


def check_attempts(entries: Iterable[Entry]) -> Iterator[str]:
    """Check that each attempt of an at-most-once step began once."""
    starts = Counter(
        (entry.order, entry.who, entry.attempt)
        for entry in entries
        if entry.what == "begins" and entry.who in AT_MOST_ONCE_STEPS
    )
    for (order, who, attempt), times in starts.items():
        if times > 1:
            yield f"{order}: attempt {attempt} of {who}, at most once, began {times} times"


def check_ends(report: OrderReport) -> Iterator[str]:
    """Check that events are numbered without holes, and that the last is the only end."""
    ids = [event.event_id for event in report.history]
    if ids != list(range(1, len(ids) + 1)):
        yield f"the numbers of its events have holes or repetitions: {ids}"
    if report.execution.event_count != len(ids):
        yield f"it has {len(ids)} events and says {report.execution.event_count}"
    ends = [each.event_type for each in report.history if each.event_type.startswith("Execution")]
    if ends != ["ExecutionStarted", "ExecutionSucceeded"]:
        yield f"one start and one good end expected, got {ends}: {report.execution.error}"
    elif report.history[-1].event_type != "ExecutionSucceeded":
        yield f"something came after its end: {report.history[-1].event_type}"
    moments = [event.at for event in report.history]
    if moments != sorted(moments):
        yield "its events are not in the order of their times"


def check_step_results(report: OrderReport, written: Sequence[Entry]) -> Iterator[str]:
    """Check that each step recorded the value of one of its runs, and that the result has it."""
    for who in STEPS:
        recorded = [
            decode_payload(event.result_text)
            for event in report.history
            if event.event_type == "StepSucceeded" and event.name == who
        ]
        returned = {each.outcome for each in written if each.who == who and each.what == "ends"}
        if len(recorded) != 1 or recorded[0] not in returned:
            yield f"{who} recorded {recorded}, while its runs returned {returned}"
        elif recorded[0] != result_of(report).get(who):
            yield f"{who} recorded {recorded}, and the result says {result_of(report).get(who)}"


def check_approval(report: OrderReport, written: Sequence[Entry]) -> Iterator[str]:
    """Check that the order continued with the approver's acknowledged answer."""
    done = [each.outcome for each in written if each.who == "approver"]
    expected = done or ["CallbackTimeoutError"]
    approval = result_of(report).get("approval")
    if [approval] != expected:
        yield f"the approver did {done}, and the result says {approval}"


def result_of(report: OrderReport) -> dict[str, Any]:
    """Return the result of an order; one that failed has none."""
    result: dict[str, Any] = report.execution.result or {}
    return result


def check_waits(report: OrderReport, written: Sequence[Entry]) -> Iterator[str]:
    """Check that no wait ended early, by the wall clock."""
    came = [each.at_ms for each in written if each.who == "rest" and each.what == "comes"]
    went = [each.at_ms for each in written if each.who == "rest" and each.what == "goes"]
    if not came or not went:
        yield "it never rested"
    elif min(went) - min(came) < report.rest_s * 1_000:
        yield f"it rested {min(went) - min(came)} ms instead of {report.rest_s} s"


def check_timers(report: OrderReport) -> Iterator[str]:
    """Check that no timer's event in the history is earlier than it was due."""
    last: dict[str | None, HistoryEvent] = {}
    for event in report.history:
        due = due_at(last.get(event.operation_id), event)
        if due is not None and event.at < due:
            yield f"{event.event_type} of {event.name} came {due - event.at} early"
        last[event.operation_id] = event


def due_at(before: HistoryEvent | None, event: HistoryEvent) -> datetime | None:
    """Return the earliest time of an event after its operation's last one; None: any time."""
    match before, event.event_type:
        case HistoryEvent(event_type="WaitStarted"), _:
            return read_time(before.wire.scheduled_end_timestamp)
        case HistoryEvent(event_type="StepFailed", retry=RetryDescription() as retry), _:
            return before.at + timedelta(milliseconds=retry.next_attempt_delay_ms or 0)
        case HistoryEvent(event_type="CallbackStarted"), "CallbackTimedOut":
            return before.at + timedelta(seconds=before.wire.timeout_seconds)
        case _:
            return None
