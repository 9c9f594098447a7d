"""Messages of the session: few, and none that a peer would refuse for its size."""

from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.messages import (
    MESSAGE_BYTES_MAX,
    batches,
    checkpoint_message,
    complete_message,
)
from perdure_worker.invocations.protocol import CheckpointCall, CompleteCall, Completion


def checkpoint(number: int, size: int = 0) -> worker_pb2.CheckpointCall:
    update = worker_pb2.OperationUpdate(id="a", type="STEP", action="SUCCEED", payload="x" * size)
    return checkpoint_message(number, CheckpointCall("t", "c", (update,)))


def sizes(*calls: worker_pb2.CheckpointCall) -> list[int]:
    return [len(message.checkpoints.calls) for message in batches(calls, [])]


def test_everything_ready_shares_one_message_of_each_kind_and_ends_go_first() -> None:
    end = complete_message(3, CompleteCall("t", Completion("SUCCEEDED", result="1")), 5)
    messages = list(batches([checkpoint(1), checkpoint(2)], [end]))
    assert [m.WhichOneof("message") for m in messages] == ["completions", "checkpoints"]
    assert messages[0].completions.calls[0].request.replayed_operations == 5
    assert [call.call_id for call in messages[1].checkpoints.calls] == [1, 2]


def test_nothing_ready_is_no_message() -> None:
    assert list(batches([], [])) == []


def test_a_message_is_closed_before_it_grows_too_large() -> None:
    half = MESSAGE_BYTES_MAX // 2
    assert sizes(checkpoint(1, half), checkpoint(2, half), checkpoint(3)) == [1, 2]


def test_a_call_that_is_too_large_travels_alone() -> None:
    assert sizes(checkpoint(1), checkpoint(2, MESSAGE_BYTES_MAX), checkpoint(3)) == [1, 1, 1]
