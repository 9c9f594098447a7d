"""A scripted server: it speaks the session's protocol on loopback exactly as a test directs.

It is on the other side of a real socket and does not use the worker's code. Every wait has
a deadline, so that a test that goes wrong fails instead of hanging.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from perdure_proto.v1 import model_pb2, worker_pb2

DEADLINE_S = 60.0
SERVICE = "perdure_proto.v1.WorkerService"

# What a test does not wait for may arrive at any time.
IN_PASSING = {"credit", "heartbeat"}


class Stream:
    """One session as the server sees it."""

    def __init__(self, context: Any) -> None:
        self.metadata = tuple(context.invocation_metadata())
        self.credits = 0
        self.heartbeats: asyncio.Queue[list[str]] = asyncio.Queue()
        self._context = context
        self._delivered = 0
        self._credited = asyncio.Condition()
        self._received: asyncio.Queue[worker_pb2.WorkerMessage | None] = asyncio.Queue()
        self._end: asyncio.Future[tuple[grpc.StatusCode, str] | None] = (
            asyncio.get_running_loop().create_future()
        )

    async def hold(self) -> None:
        """Keep the stream until the test or the worker ends it."""
        reading = asyncio.create_task(self._read())
        try:
            end = await self._end
        finally:
            reading.cancel()
        if end is not None:
            await self._context.abort(*end)

    def end(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "") -> None:
        """Break the stream."""
        if not self._end.done():
            self._end.set_result((code, details))

    async def expect_any(self) -> worker_pb2.WorkerMessage:
        """Return the next message; skip credits and heartbeats."""
        async with asyncio.timeout(DEADLINE_S):
            message = await self._received.get()
        assert message is not None, "the worker has closed its side"
        return message

    async def expect(self, kind: str) -> Any:
        """Return the next message, which must be of `kind`; skip credits and heartbeats."""
        message = await self.expect_any()
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def expect_calls(self, kind: str, count: int) -> list[Any]:
        """Return the calls of the next batches, until there are `count`."""
        calls: list[Any] = []
        while len(calls) < count:
            calls.extend((await self.expect(kind)).calls)
        assert len(calls) == count
        return calls

    async def expect_close(self) -> None:
        """Wait until the worker has closed its side."""
        async with asyncio.timeout(DEADLINE_S):
            assert await self._received.get() is None

    async def expect_call(self, kind: str) -> Any:
        """Return the one call of the next batch."""
        (call,) = await self.expect_calls(kind, 1)
        return call

    async def expect_credits(self, total: int) -> None:
        """Wait until `total` slots have been promised on this stream."""
        async with asyncio.timeout(DEADLINE_S), self._credited:
            await self._credited.wait_for(lambda: self.credits >= total)
        assert self.credits == total

    async def expect_heartbeat(self) -> list[str]:
        """Return the running invocations of the next heartbeat."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.heartbeats.get()

    async def register(
        self,
        *,
        refused: Sequence[str] = (),
        interval_ms: int = 60_000,
        timeout_ms: int = 180_000,
    ) -> worker_pb2.RegisterRequest:
        """Accept the registration, and return it."""
        registration = await self.expect("register")
        assert isinstance(registration, worker_pb2.RegisterRequest)
        answer = worker_pb2.RegisterResponse(
            heartbeat_interval_ms=interval_ms,
            heartbeat_timeout_ms=timeout_ms,
            refused_claims=refused,
        )
        await self.send(worker_pb2.ServerMessage(registered=answer))
        return registration

    async def send(self, message: worker_pb2.ServerMessage) -> None:
        """Send a message to the worker."""
        await self._context.write(message)

    async def deliver(self, *invocations: worker_pb2.Invocation, unasked: bool = False) -> None:
        """Hand invocations to the worker, against its credits unless `unasked`."""
        self._delivered += len(invocations)
        if not unasked:
            async with asyncio.timeout(DEADLINE_S), self._credited:
                await self._credited.wait_for(lambda: self.credits >= self._delivered)
        batch = worker_pb2.InvocationBatch(invocations=invocations)
        await self.send(worker_pb2.ServerMessage(invocations=batch))

    async def reply(self, *replies: worker_pb2.Reply) -> None:
        """Answer calls."""
        await self.send(worker_pb2.ServerMessage(replies=worker_pb2.ReplyBatch(replies=replies)))

    async def accept(self, call: worker_pb2.CheckpointCall, token: str) -> None:
        """Accept a checkpoint; an empty token revokes the invocation."""
        answer = worker_pb2.CheckpointResponse(
            checkpoint_token=token, operations=[_applied(u) for u in call.request.updates]
        )
        await self.reply(worker_pb2.Reply(call_id=call.call_id, checkpoint=answer))

    async def confirm(self, call: worker_pb2.CompleteCall) -> None:
        """Confirm the end of an invocation."""
        answer = worker_pb2.CompleteResponse()
        await self.reply(worker_pb2.Reply(call_id=call.call_id, complete=answer))

    async def refuse(self, call_id: int, code: grpc.StatusCode, message: str = "") -> None:
        """Refuse a call."""
        error = worker_pb2.CallError(code=code.value[0], message=message)
        await self.reply(worker_pb2.Reply(call_id=call_id, error=error))

    async def lose(self, *invocation_ids: str) -> None:
        """Report these invocations as lost."""
        lost = worker_pb2.HeartbeatResponse(lost_invocation_ids=invocation_ids)
        await self.send(worker_pb2.ServerMessage(heartbeat=lost))

    async def _read(self) -> None:
        while (message := await self._context.read()) is not grpc.aio.EOF:
            if message.WhichOneof("message") not in IN_PASSING:
                self._received.put_nowait(message)
            elif message.HasField("credit"):
                async with self._credited:
                    self.credits += message.credit.slots
                    self._credited.notify_all()
            else:
                self.heartbeats.put_nowait(list(message.heartbeat.invocation_ids))
        self._received.put_nowait(None)
        if not self._end.done():
            self._end.set_result(None)


class Peer:
    """A server whose sessions are held by the test."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.sessions = 0
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._server = grpc.aio.server()

    async def __aenter__(self) -> Self:
        serve_sessions(self._server, self._session)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def next_stream(self) -> Stream:
        """Return the next session that the worker opens."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._streams.get()

    async def stop(self) -> None:
        """Break every stream and stop listening, as a killed server does."""
        await self._server.stop(None)

    async def _session(self, request_iterator: Any, context: Any) -> None:
        self.sessions += 1
        stream = Stream(context)
        self._streams.put_nowait(stream)
        await stream.hold()


def serve_sessions(server: grpc.aio.Server, session: Callable[..., Any]) -> None:
    """Add the Session method to a server, and nothing else."""
    handler = grpc.stream_stream_rpc_method_handler(
        session,
        request_deserializer=worker_pb2.WorkerMessage.FromString,
        response_serializer=worker_pb2.ServerMessage.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler(SERVICE, {"Session": handler})
    server.add_generic_rpc_handlers((service,))


def invocation(
    number: int, function: str = "handler", *, event: str = "{}", **more: Any
) -> worker_pb2.Invocation:
    """Return the first active of an execution."""
    execution = model_pb2.Operation(id=f"e{number}", type="EXECUTION", status="STARTED")
    execution.start_timestamp.seconds = 1
    execution.execution_details.input_payload = event
    return worker_pb2.Invocation(
        invocation_id=f"i{number}",
        execution_arn=f"arn-{number}",
        function_name=function,
        checkpoint_token=f"t{number}",
        operations=[execution],
        **more,
    )


def _applied(update: worker_pb2.OperationUpdate) -> model_pb2.Operation:
    statuses = {"START": "STARTED", "SUCCEED": "SUCCEEDED", "FAIL": "FAILED", "RETRY": "PENDING"}
    operation = model_pb2.Operation(
        id=update.id, type=update.type, status=statuses[update.action], sub_type=update.sub_type
    )
    operation.start_timestamp.seconds = 1
    if update.HasField("name"):
        operation.name = update.name
    if update.type == "STEP":
        operation.step_details.attempt = 1
        operation.step_details.result = update.payload
    return operation
