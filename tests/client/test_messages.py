"""Reading the contract's messages, and the JSON that the models become."""

from datetime import UTC, datetime

import pytest

from perdure.client import models
from perdure_proto.v1 import client_pb2, model_pb2

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def an_execution() -> model_pb2.Execution:
    execution = model_pb2.Execution(
        execution_arn="arn:1", execution_name="order-1", function_name="order", status="RUNNING"
    )
    execution.start_timestamp.FromDatetime(NOON)
    callback = execution.open_callbacks.add(callback_id="Y2FsbA==", operation_id="op", name="ok")
    callback.start_timestamp.FromDatetime(NOON)
    callback.due_timestamp.FromDatetime(NOON)
    return execution


def test_an_open_execution_has_no_end_and_no_result() -> None:
    execution = models.read_execution(an_execution())
    assert (execution.ended, execution.ended_at, execution.result_text) == (False, None, None)
    assert execution.started_at == NOON


def test_open_callbacks_are_read_with_their_ids() -> None:
    (callback,) = models.read_execution(an_execution()).open_callbacks
    assert callback == models.OpenCallback(
        callback_id="Y2FsbA==", operation_id="op", name="ok", started_at=NOON, due_at=NOON
    )


def test_a_server_that_does_not_count_open_callbacks_shows_all_of_them() -> None:
    execution = an_execution()
    assert models.read_execution(execution).open_callback_count == 1
    execution.open_callback_count = 700
    assert models.read_execution(execution).open_callback_count == 700


def test_an_empty_payload_differs_from_an_absent_one() -> None:
    execution = an_execution()
    assert models.read_execution(execution).input_text is None
    execution.input = ""
    assert models.read_execution(execution).input_text == ""


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING"])
def test_an_execution_with_a_final_status_has_ended(status: str) -> None:
    assert models.read_execution(model_pb2.Execution(status=status)).ended


def test_a_word_that_this_client_does_not_know_is_read() -> None:
    execution = models.read_execution(model_pb2.Execution(status="DREAMING"))
    assert (execution.status, execution.ended) == ("DREAMING", False)


def test_the_last_attempt_has_no_next_delay() -> None:
    event = model_pb2.Event(event_id=3, event_type="StepFailed")
    event.retry_details.current_attempt = 2
    retry = models.read_event(event).retry
    assert retry == models.RetryDescription(attempt=2, next_attempt_delay_ms=None)


def test_an_error_keeps_its_parts() -> None:
    event = model_pb2.Event(event_id=3, event_type="StepFailed")
    event.error.error_type = "ValueError"
    event.error.stack_trace.append("line 1")
    assert models.read_event(event).error == models.ErrorDescription(
        error_type="ValueError", error_message=None, error_data=None, stack_trace=("line 1",)
    )


def test_json_has_the_names_of_the_contract() -> None:
    form = models.read_execution(an_execution()).to_json()
    assert form["status"] == "RUNNING"
    assert form["open_callbacks"][0]["callback_id"] == "Y2FsbA=="
    assert form["start_timestamp"] == "2026-11-24T12:00:00Z"


def test_json_holds_empty_lists_and_zeros_but_no_absent_fields() -> None:
    form = models.read_execution(model_pb2.Execution(status="RUNNING")).to_json()
    assert (form["open_callbacks"], form["event_count"]) == ([], 0)
    assert "result" not in form


def test_an_event_as_json_has_its_type() -> None:
    event = models.read_event(model_pb2.Event(event_id=1, event_type="ExecutionStarted"))
    assert event.to_json() == {
        "event_id": 1,
        "event_type": "ExecutionStarted",
        "truncated": False,
    }


def test_a_function_is_read_with_its_workers() -> None:
    function = client_pb2.Function(function_name="order", durable=True, workers_connected=2)
    assert models.read_function(function).workers_connected == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [(None, None), ("", None), ("7", 7), ('{"a": [1]}', {"a": [1]}), ("approved", "approved")],
)
def test_a_payload_is_decoded_where_it_is_json(text: str | None, value: object) -> None:
    assert models.decode_payload(text) == value
