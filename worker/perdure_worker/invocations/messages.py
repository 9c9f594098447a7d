"""Calls as messages of the session: all that is ready at one moment shares few messages.

A message is closed before it would grow beyond MESSAGE_BYTES_MAX, so that one large payload does
not make a message that the peer refuses; a call that is larger by itself travels alone.

Calls are filled in where they travel, so a payload is copied into its message once. Handing a
message to the constructor of another, or to `append`, writes it out and reads it again: for one of
64 MiB that holds the loop three times as long as a copy of its memory, at each level.
"""

from typing import Final

from perdure_host.codec import error_to_message
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.protocol import CheckpointCall, CompleteCall, Completion, StateCall

MESSAGE_BYTES_MAX: Final = 4 * 1_024 * 1_024

# More than a call's token, client token, id and status take.
_CALL_BYTES: Final = 1_024


class _OpenMessage:
    """The message that the next call of a kind goes into."""

    def __init__(self) -> None:
        self.closed: list[worker_pb2.WorkerMessage] = []
        self._message = worker_pb2.WorkerMessage()
        self._bytes = 0

    def with_room_for(self, size: int) -> worker_pb2.WorkerMessage:
        """Return a message that a call with a payload of `size` bytes fits into."""
        size += _CALL_BYTES
        if self._bytes and self._bytes + size > MESSAGE_BYTES_MAX:
            self.close()
        self._bytes += size
        return self._message

    def close(self) -> None:
        """Close the message, unless it is empty; the next call starts another."""
        if self._bytes:
            self.closed.append(self._message)
            self._message = worker_pb2.WorkerMessage()
            self._bytes = 0


class CallMessages:
    """The messages of the calls that are ready at one moment."""

    def __init__(self) -> None:
        self._completions = _OpenMessage()
        self._checkpoints = _OpenMessage()
        self._states: list[worker_pb2.WorkerMessage] = []

    def add_checkpoint(self, call_id: int, call: CheckpointCall) -> None:
        """Add a checkpoint."""
        size = sum(update.ByteSize() for update in call.updates)
        message = self._checkpoints.with_room_for(size).checkpoints.calls.add()
        message.call_id = call_id
        request = message.request
        request.checkpoint_token = call.token
        request.client_token = call.client_token
        for update in call.updates:
            request.updates.add().CopyFrom(update)

    def add_completion(self, call_id: int, call: CompleteCall, replayed_operations: int) -> None:
        """Add the end of an invocation."""
        completion = call.completion
        size = _completion_bytes(completion)
        message = self._completions.with_room_for(size).completions.calls.add()
        message.call_id = call_id
        request = message.request
        request.checkpoint_token = call.token
        request.status = completion.status
        request.replayed_operations = replayed_operations
        if completion.result is not None:
            request.result = completion.result
        if completion.error is not None:
            request.error.CopyFrom(error_to_message(completion.error))

    def add_state(self, call_id: int, call: StateCall) -> None:
        """Add a request for a page of the state."""
        request = worker_pb2.GetStateRequest(checkpoint_token=call.token, marker=call.marker)
        get_state = worker_pb2.GetStateCall(call_id=call_id, request=request)
        self._states.append(worker_pb2.WorkerMessage(get_state=get_state))

    def take(self) -> list[worker_pb2.WorkerMessage]:
        """Return all messages: pages first, then ends, since they free slots, then checkpoints."""
        self._completions.close()
        self._checkpoints.close()
        return [*self._states, *self._completions.closed, *self._checkpoints.closed]


def _completion_bytes(completion: Completion) -> int:
    size = 0
    if completion.result is not None:
        size += _text_bytes(completion.result)
    if completion.error is not None:
        size += error_to_message(completion.error).ByteSize()
    return size


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
