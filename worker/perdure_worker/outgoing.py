"""Calls as messages of the session: everything that is ready at one moment shares few messages.

A message is closed when it has grown beyond MESSAGE_BYTES_MAX, so that one large payload does not
make a message that the peer refuses; a call that is larger by itself travels alone.
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from perdure_host.codec import error_to_message
from perdure_proto.v1 import worker_pb2
from perdure_worker.turn import CheckpointCall, CompleteCall, PageCall

MESSAGE_BYTES_MAX: Final = 4 * 1_024 * 1_024

_Message = TypeVar("_Message", worker_pb2.CheckpointCall, worker_pb2.CompleteCall)


def checkpoint_message(call_id: int, call: CheckpointCall) -> worker_pb2.CheckpointCall:
    """Return the message for a checkpoint."""
    return worker_pb2.CheckpointCall(
        call_id=call_id,
        request=worker_pb2.CheckpointRequest(
            checkpoint_token=call.token, client_token=call.client_token, updates=call.updates
        ),
    )


def complete_message(
    call_id: int, call: CompleteCall, replayed_operations: int
) -> worker_pb2.CompleteCall:
    """Return the message for the end of an invocation."""
    completion = call.completion
    return worker_pb2.CompleteCall(
        call_id=call_id,
        request=worker_pb2.CompleteRequest(
            checkpoint_token=call.token,
            status=completion.status,
            result=completion.result,
            error=None if completion.error is None else error_to_message(completion.error),
            replayed_operations=replayed_operations,
        ),
    )


def page_message(call_id: int, call: PageCall) -> worker_pb2.WorkerMessage:
    """Return the message that asks for a page of the state."""
    request = worker_pb2.GetStateRequest(checkpoint_token=call.token, marker=call.marker)
    return worker_pb2.WorkerMessage(
        get_state=worker_pb2.GetStateCall(call_id=call_id, request=request)
    )


def batches(
    checkpoints: Sequence[worker_pb2.CheckpointCall], completions: Sequence[worker_pb2.CompleteCall]
) -> Iterator[worker_pb2.WorkerMessage]:
    """Yield the session's messages for these calls, ends first: they free slots."""
    for ends in _split(completions):
        yield worker_pb2.WorkerMessage(completions=worker_pb2.CompleteBatch(calls=ends))
    for calls in _split(checkpoints):
        yield worker_pb2.WorkerMessage(checkpoints=worker_pb2.CheckpointBatch(calls=calls))


def _split(calls: Sequence[_Message]) -> Iterator[list[_Message]]:
    batch: list[_Message] = []
    size = 0
    for call in calls:
        size += call.ByteSize()
        if batch and size > MESSAGE_BYTES_MAX:
            yield batch
            batch, size = [], call.ByteSize()
        batch.append(call)
    if batch:
        yield batch
