"""The codec: every value reads back equal, and malformed messages are refused by name."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
    WaitDetails,
)
from perdure_host.codec import (
    MalformedMessage,
    completion_status,
    error_from_message,
    error_to_message,
    ms_from_timestamp,
    operation_from_message,
    operation_to_message,
    timestamp_from_ms,
    update_from_message,
    update_to_message,
)
from perdure_proto.v1 import model_pb2, worker_pb2

texts = st.text(st.characters(codec="utf-8"), max_size=20)
maybe_texts = st.none() | texts
ids = st.from_regex(r"[A-Za-z0-9\-_]{1,64}", fullmatch=True)
times_ms = st.integers(0, 253_402_300_799_999)
errors = st.builds(
    ErrorObject,
    message=maybe_texts,
    type=maybe_texts,
    data=maybe_texts,
    stack_trace=st.lists(texts, max_size=3).map(tuple),
)
maybe_errors = st.none() | errors
details_by_type: dict[OperationType, st.SearchStrategy[Details]] = {
    OperationType.EXECUTION: st.builds(ExecutionDetails, input=maybe_texts),
    OperationType.CONTEXT: st.builds(
        ContextDetails, replay_children=st.booleans(), result=maybe_texts, error=maybe_errors
    ),
    OperationType.STEP: st.builds(
        StepDetails,
        attempt=st.integers(0, 2**31 - 1),
        next_attempt_ms=st.none() | times_ms,
        attempt_started_ms=st.none() | times_ms,
        heartbeat=maybe_texts,
        heartbeat_ms=st.none() | times_ms,
        result=maybe_texts,
        error=maybe_errors,
    ),
    OperationType.CALLBACK: st.builds(
        CallbackDetails,
        callback_id=texts,
        timeout_s=st.just(0),
        heartbeat_timeout_s=st.just(0),
        result=maybe_texts,
        error=maybe_errors,
        timeout_due_ms=st.none(),
        heartbeat_due_ms=st.none(),
    ),
    OperationType.CHAINED_INVOKE: st.builds(
        ChainedInvokeDetails,
        function=texts,
        execution_arn=maybe_texts,
        result=maybe_texts,
        error=maybe_errors,
    ),
}


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """Draw operations of every type, with the details of that type."""
    operation_type = draw(st.sampled_from(OperationType))
    started_ms = draw(times_ms)
    details: Details
    if operation_type is OperationType.WAIT:
        scheduled_end_ms = draw(times_ms)
        details = WaitDetails(scheduled_end_ms - started_ms, scheduled_end_ms)
    else:
        details = draw(details_by_type[operation_type])
    return Operation(
        id=draw(ids),
        type=operation_type,
        status=draw(st.sampled_from(OperationStatus)),
        started_ms=started_ms,
        details=details,
        ended_ms=draw(st.none() | times_ms),
        parent_id=draw(st.none() | ids),
        name=draw(maybe_texts),
        sub_type=draw(maybe_texts),
    )


@st.composite
def updates(draw: st.DrawFn) -> OperationUpdate:
    """Draw updates of every shape, including those that the core would refuse."""
    function = draw(maybe_texts)
    return OperationUpdate(
        id=draw(ids),
        type=draw(st.sampled_from(OperationType)),
        action=draw(st.sampled_from(OperationAction)),
        parent_id=draw(st.none() | ids),
        name=draw(maybe_texts),
        sub_type=draw(maybe_texts),
        payload=draw(maybe_texts),
        error=draw(maybe_errors),
        replay_children=draw(st.booleans()),
        next_attempt_delay_ms=draw(st.none() | st.integers(0, 2**63 - 1)),
        wait_ms=draw(st.none() | st.integers(0, 2**63 - 1)),
        timeout_s=draw(st.integers(0, 2**31 - 1)),
        heartbeat_timeout_s=draw(st.integers(0, 2**31 - 1)),
        function=function,
        tenant_id=None if function is None else draw(maybe_texts),
        trace_header=None if function is None else draw(maybe_texts),
        duration_ms=draw(st.none() | st.integers(0, 2**63 - 1)),
    )


@given(operations())
def test_an_operation_survives_the_wire(operation: Operation) -> None:
    wire = operation_to_message(operation).SerializeToString()
    assert operation_from_message(model_pb2.Operation.FromString(wire)) == operation


@given(updates())
def test_an_update_survives_the_wire(update: OperationUpdate) -> None:
    wire = update_to_message(update).SerializeToString()
    assert update_from_message(worker_pb2.OperationUpdate.FromString(wire)) == update


@given(errors)
def test_an_error_survives_the_wire(error: ErrorObject) -> None:
    wire = error_to_message(error).SerializeToString()
    assert error_from_message(model_pb2.ErrorObject.FromString(wire)) == error


def test_an_error_that_no_message_can_contain_is_still_sent() -> None:
    broken = ErrorObject(message="no such file: \ud800", stack_trace=("at \udcff",))
    error = ErrorObject(message="no such file: ?", stack_trace=("at ?",))
    assert error_from_message(error_to_message(broken)) == error


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_survives_the_wire(time_ms: int) -> None:
    assert ms_from_timestamp(timestamp_from_ms(time_ms)) == time_ms


def test_times_finer_than_a_millisecond_are_cut() -> None:
    assert ms_from_timestamp(Timestamp(seconds=1, nanos=1_999_999)) == 1_001


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_a_timestamp_out_of_range_is_refused(nanos: int) -> None:
    with pytest.raises(MalformedMessage, match="timestamp out of range"):
        ms_from_timestamp(Timestamp(seconds=1, nanos=nanos))


def test_an_absent_payload_and_an_empty_one_differ() -> None:
    message = worker_pb2.OperationUpdate(id="a", type="STEP", action="SUCCEED")
    assert update_from_message(message).payload is None
    message.payload = ""
    assert update_from_message(message).payload == ""


def test_unknown_enum_values_are_refused_and_named() -> None:
    with pytest.raises(MalformedMessage, match="unknown operation type 'STEPS'"):
        update_from_message(worker_pb2.OperationUpdate(id="a", type="STEPS", action="START"))
    with pytest.raises(MalformedMessage, match="unknown operation action 'start'"):
        update_from_message(worker_pb2.OperationUpdate(id="a", type="STEP", action="start"))
    with pytest.raises(MalformedMessage, match="unknown operation status ''"):
        operation_from_message(model_pb2.Operation(id="a", type="STEP"))
    expected = r"unknown completion status 'DONE'; expected SUCCEEDED \| FAILED \| PENDING \| ERROR"
    with pytest.raises(MalformedMessage, match=expected):
        completion_status("DONE")


@pytest.mark.parametrize("text", ["", "a b", "a" * 65, "ä", "a\n"])
def test_a_malformed_id_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage, match="malformed update id"):
        update_from_message(worker_pb2.OperationUpdate(id=text, type="STEP", action="START"))
    with pytest.raises(MalformedMessage, match="malformed parent id"):
        update_from_message(
            worker_pb2.OperationUpdate(id="a", type="STEP", action="START", parent_id=text)
        )


def test_long_values_of_a_peer_are_quoted_in_part() -> None:
    with pytest.raises(MalformedMessage) as refused:
        update_from_message(
            worker_pb2.OperationUpdate(id="x" * 10_000, type="STEP", action="START")
        )
    assert len(str(refused.value)) < 300
