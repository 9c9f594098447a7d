"""Messages of the session: few, and none too large for its peer."""

import pytest

from perdure_core.commands import CompletionStatus
from perdure_core.model import ErrorObject
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.messages import MESSAGE_BYTES_MAX, CallMessages
from perdure_worker.invocations.protocol import (
    CheckpointCall,
    CompleteCall,
    Completion,
    StateCall,
)


def checkpoint(size: int = 0) -> CheckpointCall:
    update = worker_pb2.OperationUpdate(id="a", type="STEP", action="SUCCEED", payload="x" * size)
    return CheckpointCall("t", "c", (update,))


def sizes_of_checkpoints(*payload_sizes: int) -> list[int]:
    messages = CallMessages()
    for number, size in enumerate(payload_sizes):
        messages.add_checkpoint(number, checkpoint(size))
    return [len(message.checkpoints.calls) for message in messages.take()]


def sizes_of_completions(*completions: Completion) -> list[int]:
    messages = CallMessages()
    for number, completion in enumerate(completions):
        messages.add_completion(number, CompleteCall("t", completion), 0)
    return [len(message.completions.calls) for message in messages.take()]


def test_everything_ready_shares_one_message_of_each_kind_and_ends_go_before_checkpoints() -> None:
    calls = CallMessages()
    calls.add_checkpoint(1, checkpoint())
    calls.add_checkpoint(2, checkpoint())
    calls.add_completion(
        3, CompleteCall("t", Completion(CompletionStatus.SUCCEEDED, result="1")), 5
    )
    calls.add_state(4, StateCall("t", "marker"))
    messages = calls.take()
    kinds = ["get_state", "completions", "checkpoints"]
    assert [message.WhichOneof("message") for message in messages] == kinds
    assert messages[1].completions.calls[0].request.replayed_operations == 5
    assert [call.call_id for call in messages[2].checkpoints.calls] == [1, 2]


def test_a_checkpoint_arrives_as_it_was_called() -> None:
    calls = CallMessages()
    calls.add_checkpoint(7, checkpoint(3))
    expected = worker_pb2.CheckpointCall(
        call_id=7,
        request=worker_pb2.CheckpointRequest(
            checkpoint_token="t", client_token="c", updates=checkpoint(3).updates
        ),
    )
    assert list(calls.take()[0].checkpoints.calls) == [expected]


def test_nothing_ready_is_no_message() -> None:
    assert CallMessages().take() == []


def test_a_message_is_closed_before_it_grows_too_large() -> None:
    half = MESSAGE_BYTES_MAX // 2
    assert sizes_of_checkpoints(half, half, 0) == [1, 2]


def test_a_call_that_is_too_large_travels_alone() -> None:
    assert sizes_of_checkpoints(0, MESSAGE_BYTES_MAX, 0) == [1, 1, 1]


@pytest.mark.parametrize(
    "large",
    [
        Completion(CompletionStatus.SUCCEEDED, result="x" * MESSAGE_BYTES_MAX),
        Completion(CompletionStatus.SUCCEEDED, result="ä" * (MESSAGE_BYTES_MAX // 2)),
        Completion(CompletionStatus.FAILED, error=ErrorObject(message="x" * MESSAGE_BYTES_MAX)),
    ],
)
def test_a_large_end_travels_alone(large: Completion) -> None:
    small = Completion(CompletionStatus.SUCCEEDED, result="1")
    assert sizes_of_completions(small, large, small) == [1, 1, 1]
    assert sizes_of_completions(small, small) == [2]
