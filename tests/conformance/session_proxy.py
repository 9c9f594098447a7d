"""A proxy between workers and the server that holds back the messages which a test names.

A worker that dies right before the server receives a checkpoint, or right after, is one whose call
or whose answer never arrives. So the call or the answer is held here, while everything else passes,
until the worker process is killed: one crash then serves every execution that is held. Worker,
server and wire are the real ones, and do not notice the proxy.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import grpc.aio

from perdure_core.identity import parse_arn
from perdure_host.channel import CHANNEL_OPTIONS, SERVER_OPTIONS
from perdure_proto.v1 import worker_pb2, worker_pb2_grpc
from tests.worker.peer import serve_sessions

if TYPE_CHECKING:
    from perdure_proto.v1.worker_pb2_grpc import WorkerServiceAsyncStub


@dataclass(frozen=True)
class Moment:
    """Right before the server receives the n-th checkpoint of an execution, or right after."""

    checkpoint: int
    accepted: bool

    def __str__(self) -> str:
        return f"right {'after' if self.accepted else 'before'} checkpoint {self.checkpoint}"


class HeldExecutions:
    """Executions to hold and executions held, as FUNCTION/NAME, with their checkpoint counts."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.checkpoints: Counter[str] = Counter()
        self._requested: dict[str, Moment] = {}
        self._ended: set[str] = set()
        self._changed = asyncio.Event()

    def hold_at(self, key: str, moment: Moment) -> None:
        """Hold an execution at that moment, once."""
        self._requested[key] = moment

    def arrive(self, key: str, moment: Moment) -> bool:
        """Record that an execution is at that moment; return whether it must be held."""
        if self._requested.get(key) != moment:
            return False
        del self._requested[key]
        self.held.add(key)
        self._changed.set()
        return True

    def end(self, key: str) -> None:
        """Record that an execution has ended."""
        self._requested.pop(key, None)
        self._ended.add(key)
        self._changed.set()

    async def wait_settled(self, keys: Iterable[str]) -> None:
        """Wait until each of these executions is held or has ended."""
        waited_for = set(keys)
        while not waited_for <= self.held | self._ended:
            self._changed.clear()
            await self._changed.wait()


class MessageFilter:
    """The messages between one worker and the server, without those that are held."""

    def __init__(self, holds: HeldExecutions) -> None:
        self._holds = holds
        self._keys: dict[str, str] = {}
        self._calls: dict[int, tuple[str, int]] = {}

    def up(self, message: worker_pb2.WorkerMessage) -> worker_pb2.WorkerMessage | None:
        """Return what the server receives of a message, or None."""
        if not message.HasField("checkpoints"):
            return message
        calls = [call for call in message.checkpoints.calls if self._goes_up(call)]
        batch = worker_pb2.CheckpointBatch(calls=calls)
        return worker_pb2.WorkerMessage(checkpoints=batch) if calls else None

    def down(self, message: worker_pb2.ServerMessage) -> worker_pb2.ServerMessage | None:
        """Return what the worker receives of a message, or None."""
        for each in message.invocations.invocations:
            identity = parse_arn(each.execution_arn)
            self._keys[each.checkpoint_token] = f"{identity.function}/{identity.name}"
        if not message.HasField("replies"):
            return message
        replies = [reply for reply in message.replies.replies if self._goes_down(reply)]
        batch = worker_pb2.ReplyBatch(replies=replies)
        return worker_pb2.ServerMessage(replies=batch) if replies else None

    def _goes_up(self, call: worker_pb2.CheckpointCall) -> bool:
        key = self._keys[call.request.checkpoint_token]
        self._holds.checkpoints[key] += bool(call.request.updates)
        number = self._holds.checkpoints[key]
        self._calls[call.call_id] = (key, number)
        return not self._holds.arrive(key, Moment(number, accepted=False))

    def _goes_down(self, reply: worker_pb2.Reply) -> bool:
        if not reply.HasField("checkpoint"):
            return True
        key, number = self._calls.pop(reply.call_id)
        self._keys[reply.checkpoint.checkpoint_token] = key
        return not self._holds.arrive(key, Moment(number, accepted=True))


class SessionProxy:
    """A gRPC server that forwards the sessions of workers to the real one."""

    def __init__(self, server_address: str) -> None:
        self.holds = HeldExecutions()
        self.address = ""
        self._server_address = server_address
        self._server = grpc.aio.server(options=SERVER_OPTIONS)

    async def __aenter__(self) -> Self:
        serve_sessions(self._server, self._session)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.stop(None)

    async def _session(
        self, requests: AsyncIterator[worker_pb2.WorkerMessage], _context: object
    ) -> AsyncIterator[worker_pb2.ServerMessage]:
        message_filter = MessageFilter(self.holds)
        async with grpc.aio.insecure_channel(self._server_address, CHANNEL_OPTIONS) as channel:
            stub = cast("WorkerServiceAsyncStub", worker_pb2_grpc.WorkerServiceStub(channel))
            call = stub.Session(_going_up(requests, message_filter))
            # A worker that dies cancels this; the server notices that at once by itself.
            with suppress(asyncio.CancelledError):
                async for message in call:
                    if (forwarded := message_filter.down(message)) is not None:
                        yield forwarded


async def _going_up(
    requests: AsyncIterator[worker_pb2.WorkerMessage], message_filter: MessageFilter
) -> AsyncIterator[worker_pb2.WorkerMessage]:
    async for message in requests:
        if (forwarded := message_filter.up(message)) is not None:
            yield forwarded
