"""The checks of chaos runs: each on a sample that breaks it."""

from dataclasses import replace
from typing import Any

import pytest

from perdure.client.models import read_event, read_execution
from perdure_proto.v1 import model_pb2
from tests.system.judge import OrderReport, problems
from tests.system.ledger import Entry

ORDER = "order-1"
STEPS = {"price": "price 7", "pay": "pay 8", "ship": "ship 9"}


def event(number: int, kind: str, at_s: int, name: str = "", **fields: Any) -> model_pb2.Event:
    wire = model_pb2.Event(event_id=number, event_type=kind, name=name, id=name, **fields)
    wire.event_timestamp.FromSeconds(at_s)
    return wire


def history() -> list[model_pb2.Event]:
    """Return the history of an order that succeeded."""
    events = [
        event(1, "ExecutionStarted", 100),
        event(2, "StepStarted", 100, "price"),
        event(3, "StepFailed", 100, "price"),
        event(4, "StepStarted", 102, "price"),
        *(event(5 + n, "StepSucceeded", 103, s, result=f'"{STEPS[s]}"') for n, s in ORDERED),
        event(8, "WaitStarted", 103, "rest"),
        event(9, "WaitSucceeded", 104, "rest"),
        event(10, "CallbackStarted", 104, "approval", timeout_seconds=2),
        event(11, "CallbackSucceeded", 105, "approval", result="yes"),
        event(12, "InvocationCompleted", 106),
        event(13, "ExecutionSucceeded", 106),
    ]
    events[2].retry_details.current_attempt = 1
    events[2].retry_details.next_attempt_delay_ms = 2_000
    events[7].scheduled_end_timestamp.FromSeconds(104)
    return events


ORDERED = list(enumerate(STEPS))


def report(events: list[model_pb2.Event], approval: str = "yes") -> OrderReport:
    result = ", ".join(f'"{step}": "{outcome}"' for step, outcome in STEPS.items())
    execution = model_pb2.Execution(
        status="SUCCEEDED",
        event_count=len(events),
        result=f'{{{result}, "approval": "{approval}"}}',
    )
    return OrderReport(
        order=ORDER,
        rest_s=1,
        execution=read_execution(execution),
        history=[read_event(each) for each in events],
    )


def ledger() -> list[Entry]:
    """Return the ledger of the same order."""
    steps = [
        Entry(order=ORDER, who=who, what=what, attempt=1, outcome=outcome)
        for who, outcome in STEPS.items()
        for what in ("begins", "ends")
    ]
    return [
        *steps,
        Entry(order=ORDER, who="rest", what="comes", at_ms=103_000),
        Entry(order=ORDER, who="rest", what="goes", at_ms=104_000),
        Entry(order=ORDER, who="approver", what="answers", outcome="yes"),
    ]


def problem(entries: list[Entry], report: OrderReport) -> str:
    (found,) = problems(entries, [report])
    return found


def test_an_order_that_went_well_meets_no_complaint() -> None:
    assert problems(ledger(), [report(history())]) == []


def test_an_attempt_at_most_once_that_began_twice_is_noticed() -> None:
    again = Entry(order=ORDER, who="pay", what="begins", attempt=1)
    assert "attempt 1 of pay, at most once, began 2 times" in problem(
        [*ledger(), again], report(history())
    )


def test_an_attempt_at_least_once_may_begin_twice() -> None:
    again = Entry(order=ORDER, who="price", what="begins", attempt=1)
    assert problems([*ledger(), again], [report(history())]) == []


def test_a_hole_in_the_history_is_noticed() -> None:
    events = history()
    del events[11]
    assert "holes" in problem(ledger(), report(events))


def test_an_order_that_has_not_ended_is_noticed() -> None:
    assert "one start and one good end" in problem(ledger(), report(history()[:-1]))


def test_a_result_that_no_run_returned_is_noticed() -> None:
    entries = [replace(each, outcome="ship 0") for each in ledger() if each.who == "ship"]
    others = [each for each in ledger() if each.who != "ship"]
    assert "ship recorded" in problem([*others, *entries], report(history()))


def test_an_answer_that_was_lost_is_noticed() -> None:
    assert "the approver did" in problem(ledger(), report(history(), approval="no"))


def test_a_wait_that_was_passed_early_is_noticed() -> None:
    entries = [replace(each, at_ms=103_999) if each.what == "goes" else each for each in ledger()]
    assert "it rested 999 ms" in problem(entries, report(history()))


@pytest.mark.parametrize(
    ("number", "at_s", "what"),
    [(4, 101, "StepStarted of price"), (9, 103, "WaitSucceeded of rest")],
)
def test_a_timer_that_fired_early_is_noticed(number: int, at_s: int, what: str) -> None:
    events = history()
    events[number - 1].event_timestamp.FromSeconds(at_s)
    assert f"{what} came 0:00:01 early" in problem(ledger(), report(events))


def test_a_callback_that_timed_out_early_is_noticed() -> None:
    events = history()
    events[10].event_type = "CallbackTimedOut"
    assert "CallbackTimedOut of approval came 0:00:01 early" in problem(ledger(), report(events))
