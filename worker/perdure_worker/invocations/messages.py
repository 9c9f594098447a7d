"""Calls as messages of the session: everything that is ready at one moment shares few messages.

A message is closed when it has grown beyond MESSAGE_BYTES_MAX, so that one large payload does not
make a message that the peer refuses; a call that is larger by itself travels alone.

Messages are put together by CopyFrom, which copies memory. Handing a message to the constructor of
another, or to `append`, writes it out and reads it again: for one of 64 MiB that holds the loop
three times as long, at each level.
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from perdure_host.codec import error_to_message
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.protocol import CheckpointCall, CompleteCall, StateCall

MESSAGE_BYTES_MAX: Final = 4 * 1_024 * 1_024

_Message = TypeVar("_Message", worker_pb2.CheckpointCall, worker_pb2.CompleteCall)


def checkpoint_message(call_id: int, call: CheckpointCall) -> worker_pb2.CheckpointCall:
    """Return the message for a checkpoint."""
    message = worker_pb2.CheckpointCall(call_id=call_id)
    request = message.request
    request.checkpoint_token = call.token
    request.client_token = call.client_token
    for update in call.updates:
        request.updates.add().CopyFrom(update)
    return message


def complete_message(
    call_id: int, call: CompleteCall, replayed_operations: int
) -> worker_pb2.CompleteCall:
    """Return the message for the end of an invocation."""
    completion = call.completion
    message = worker_pb2.CompleteCall(call_id=call_id)
    request = message.request
    request.checkpoint_token = call.token
    request.status = completion.status
    request.replayed_operations = replayed_operations
    if completion.result is not None:
        request.result = completion.result
    if completion.error is not None:
        request.error.CopyFrom(error_to_message(completion.error))
    return message


def state_message(call_id: int, call: StateCall) -> worker_pb2.WorkerMessage:
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
        message = worker_pb2.WorkerMessage()
        for end in ends:
            message.completions.calls.add().CopyFrom(end)
        yield message
    for calls in _split(checkpoints):
        message = worker_pb2.WorkerMessage()
        for call in calls:
            message.checkpoints.calls.add().CopyFrom(call)
        yield message


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
