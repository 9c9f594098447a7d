"""Histories of the kit: the same events as a server's, and documents that can be read back."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.client.models import to_json_dict
from perdure.testing import (
    DurableFunctionsTestError,
    DurableFunctionTestRunner,
    ExecutionHistory,
    HistoryEvent,
    timeline,
)
from perdure.testing.event_documents import event_document, operation_event
from perdure_core import events
from perdure_core.model import ErrorObject
from perdure_gateway.views.event_messages import event_to_message
from perdure_host.services import NumberedEvent
from tests.testing.programs import approval, nested

SUBJECT = events.Subject("a1", "name", "Step", "b2")
ERROR = ErrorObject("message", "type", "data", ("line",))

EVENTS: list[events.Event] = [
    events.ExecutionStarted(
        namespace="n",
        function="f",
        name="e",
        execution_id="0f",
        timeout_s=9,
        retention_days=1,
        input="null",
    ),
    events.ExecutionSucceeded("null"),
    events.ExecutionFailed(ERROR),
    events.ExecutionTimedOut(ERROR),
    events.ExecutionStopped(ErrorObject()),
    events.ExecutionPaused(5, "why"),
    events.ExecutionPaused(5, "it differs", diverged=True),
    events.ExecutionResumed("why"),
    events.InvocationCompleted("i1", 7, ERROR, wanted=True),
    events.ContextStarted(SUBJECT),
    events.ContextSucceeded(SUBJECT, "1"),
    events.ContextFailed(SUBJECT, ERROR),
    events.StepStarted(events.Subject("a1")),
    events.StepSucceeded(SUBJECT, 1, "null"),
    events.StepSucceeded(SUBJECT, 2, "{}", 5_000),
    events.StepFailed(SUBJECT, 3, ERROR),
    events.StepFailed(SUBJECT, 3, ERROR, 1_000),
    events.WaitStarted(SUBJECT, 5_000, 6_000),
    events.WaitSucceeded(SUBJECT, 5_000),
    events.WaitCancelled(SUBJECT, ERROR),
    events.CallbackStarted(SUBJECT, "secret", 5, 6),
    events.CallbackSucceeded(SUBJECT, "text"),
    events.CallbackFailed(SUBJECT, ERROR),
    events.CallbackTimedOut(SUBJECT, ERROR),
    events.ChainedInvokeStarted(SUBJECT, "f", "arn", "{}", "tenant"),
    events.ChainedInvokeSucceeded(SUBJECT, "1"),
    events.ChainedInvokeFailed(SUBJECT, ERROR),
    events.ChainedInvokeTimedOut(SUBJECT, ERROR),
    events.ChainedInvokeStopped(SUBJECT, ERROR),
]


def test_every_public_event_is_tried_here() -> None:
    named = {name for name in dir(events) if isinstance(getattr(events, name), type)}
    past = ("Started", "Succeeded", "Failed", "TimedOut", "Stopped", "Cancelled")
    public = {name for name in named if name.endswith((*past, "Paused", "Resumed", "Completed"))}
    assert {type(event).__name__ for event in EVENTS} == public


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_has_the_document_that_a_gateway_sends(event: events.Event) -> None:
    message = event_to_message(NumberedEvent(event_id=3, at_ms=1_234, event=event))
    there = msgspec.convert(to_json_dict(message), HistoryEvent, strict=False)
    assert event_document(3, event, 1_234) == there


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_operation_event_comes_back(event: events.Event) -> None:
    back = operation_event(event_document(1, event, 0))
    assert back == (event if isinstance(event, events.OperationEvent) else None)


def history_of(handler: Any, payload: Any) -> ExecutionHistory:
    with DurableFunctionTestRunner(handler) as runner:
        return runner.run(payload).history


def test_a_document_comes_back_as_it_was(tmp_path: Path) -> None:
    history = history_of(nested, None)
    file = tmp_path / "history.json"
    history.save(file)
    assert ExecutionHistory.load(file) == history


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("[]", "not an exported history"),
        ("{", "not an exported history"),
        ('{"format": "other", "version": 1}', "'other'"),
        ('{"format": "perdure-history", "version": 2}', "must be 1, got 2"),
        ('{"format": "perdure-history", "version": 1}', "not an exported history"),
    ],
)
def test_anything_else_is_refused(document: str, complaint: str) -> None:
    with pytest.raises(DurableFunctionsTestError, match=complaint):
        ExecutionHistory.from_json(document)


def test_a_timeline_tells_when_what_and_why() -> None:
    text = timeline(history_of(approval, {"number": 1}))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "3 +0 ms StepSucceeded double = 2" in lines
    assert (
        "6 +10 min 00 s CallbackTimedOut approval"
        " Callback.Heartbeat: Callback timed out on heartbeat" in lines
    )


def test_a_long_timeline_is_cut_in_the_middle() -> None:
    history = history_of(nested, None)
    many = msgspec.structs.replace(history, events=history.events * 20)
    assert len(timeline(many).splitlines()) == 202
