"""Event messages: every public event of the core has one, named and filled as in the contract."""

from typing import get_args

import pytest

from perdure_core import events as core
from perdure_core.model import ErrorObject
from perdure_gateway.views.event_messages import event_to_message
from perdure_host.codec import timestamp_from_ms
from perdure_host.services import NumberedEvent
from perdure_proto.v1 import model_pb2

SUBJECT = core.Subject("op", "a name", "Step", "parent")
BARE = core.Subject("op")
ERROR = ErrorObject("why", "Sad")
MESSAGE = model_pb2.ErrorObject(error_message="why", error_type="Sad")
ID = "ab" * 16


def execution_started() -> core.ExecutionStarted:
    return core.ExecutionStarted(
        namespace="default",
        function="f",
        name="n",
        execution_id=ID,
        timeout_s=60,
        retention_days=1,
        input="1",
    )


CASES: list[tuple[core.Event, model_pb2.Event]] = [
    (execution_started(), model_pb2.Event(input="1", execution_timeout_seconds=60)),
    (core.ExecutionSucceeded("2"), model_pb2.Event(result="2")),
    (core.ExecutionFailed(ERROR), model_pb2.Event(error=MESSAGE)),
    (core.ExecutionTimedOut(ERROR), model_pb2.Event(error=MESSAGE)),
    (core.ExecutionStopped(ERROR), model_pb2.Event(error=MESSAGE)),
    (
        core.ExecutionPaused(4_000, "lunch", timeout_paused=False),
        model_pb2.Event(
            reason="lunch",
            execution_timeout_paused=False,
            request_timestamp=timestamp_from_ms(4_000),
        ),
    ),
    (
        core.ExecutionPaused(4_000, "it differs", diverged=True),
        model_pb2.Event(
            reason="it differs",
            execution_timeout_paused=True,
            request_timestamp=timestamp_from_ms(4_000),
            diverged=True,
        ),
    ),
    (
        core.ExecutionResumed("go on"),
        model_pb2.Event(reason="go on", request_timestamp=timestamp_from_ms(5_000)),
    ),
    (
        core.InvocationCompleted(ID, 3_000, ERROR, wanted=True),
        model_pb2.Event(
            request_id=ID, invocation_start_timestamp=timestamp_from_ms(3_000), error=MESSAGE
        ),
    ),
    (core.ContextStarted(BARE), model_pb2.Event()),
    (core.ContextSucceeded(BARE, "2"), model_pb2.Event(result="2")),
    (
        core.ContextSucceeded(BARE, "2", replay_children=True),
        model_pb2.Event(result="2", replay_children=True),
    ),
    (core.ContextFailed(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (core.StepStarted(BARE), model_pb2.Event()),
    (
        core.StepSucceeded(BARE, 1, "2"),
        model_pb2.Event(result="2", retry_details=model_pb2.RetryDetails(current_attempt=1)),
    ),
    (
        core.StepFailed(BARE, 2, ERROR, 100),
        model_pb2.Event(
            error=MESSAGE,
            retry_details=model_pb2.RetryDetails(current_attempt=2, next_attempt_delay_ms=100),
        ),
    ),
    (
        core.WaitStarted(BARE, 10, 5_010),
        model_pb2.Event(duration_ms=10, scheduled_end_timestamp=timestamp_from_ms(5_010)),
    ),
    (core.WaitSucceeded(BARE, 10), model_pb2.Event(duration_ms=10)),
    (core.WaitCancelled(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (
        core.CallbackStarted(BARE, "cb", 60, 10),
        model_pb2.Event(callback_id="cb", timeout_seconds=60, heartbeat_timeout_seconds=10),
    ),
    (core.CallbackSucceeded(BARE, "2"), model_pb2.Event(result="2")),
    (core.CallbackFailed(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (core.CallbackTimedOut(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (
        core.ChainedInvokeStarted(BARE, "g", "arn", "1", "tenant"),
        model_pb2.Event(function_name="g", execution_arn="arn", input="1", tenant_id="tenant"),
    ),
    (core.ChainedInvokeSucceeded(BARE, "2"), model_pb2.Event(result="2")),
    (core.ChainedInvokeFailed(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (core.ChainedInvokeTimedOut(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
    (core.ChainedInvokeStopped(BARE, ERROR), model_pb2.Event(error=MESSAGE)),
]


@pytest.mark.parametrize(("event", "fields"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_an_event_has_the_message_of_the_contract(
    event: core.Event, fields: model_pb2.Event
) -> None:
    expected = model_pb2.Event(
        event_id=7, event_type=type(event).__name__, event_timestamp=timestamp_from_ms(5_000)
    )
    if isinstance(event, core.OperationEvent):
        expected.id = "op"
    expected.MergeFrom(fields)
    assert event_to_message(NumberedEvent(7, 5_000, event)) == expected


def test_every_public_event_is_among_the_cases() -> None:
    private = {
        *(
            core.CheckpointAccepted,
            core.InvocationReturned,
            core.InvocationRetryDue,
            core.OutcomeRecorded,
        ),
        *(core.PauseRequested, core.DeletionRequested, core.StepReady, core.StepHeartbeat),
        core.CallbackHeartbeat,
    }
    assert {type(event) for event, _ in CASES} == set(get_args(core.Event)) - private


def test_the_subject_is_complete() -> None:
    message = event_to_message(NumberedEvent(1, 0, core.StepStarted(SUBJECT)))
    subject = (message.id, message.name, message.sub_type, message.parent_id)
    assert subject == ("op", "a name", "Step", "parent")


@pytest.mark.parametrize("event", [case[0] for case in CASES])
def test_excluded_payloads_are_marked_as_truncated(event: core.Event) -> None:
    whole = event_to_message(NumberedEvent(7, 5_000, event))
    short = event_to_message(NumberedEvent(7, 5_000, event), exclude_data=True)
    payloads = [field for field in ("input", "result", "error") if whole.HasField(field)]
    assert short.truncated == bool(payloads)
    assert not any(short.HasField(field) for field in ("input", "result", "error"))
    assert (short.event_id, short.event_type) == (whole.event_id, whole.event_type)


def test_an_absent_payload_is_not_an_empty_one() -> None:
    absent = event_to_message(NumberedEvent(1, 0, core.ExecutionSucceeded(None)))
    empty = event_to_message(NumberedEvent(1, 0, core.ExecutionSucceeded("")))
    assert (absent.HasField("result"), empty.HasField("result")) == (False, True)
