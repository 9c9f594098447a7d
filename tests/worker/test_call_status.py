"""What a worker learns of a stream's end while it writes to it."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from perdure_proto.v1 import worker_pb2, worker_pb2_grpc
from perdure_worker.session.call_status import CallStatus
from tests.worker.peer import serve_sessions
from tests.worker.scenario import play

# Enough for both orders of a failed write and the server's status, on any machine seen.
CALLS = 300
WRITES = 3


async def _refuse(_requests: Any, context: Any) -> None:
    await context.write(worker_pb2.ServerMessage())
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")


async def _write(call: Any) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for _ in range(WRITES):
            await call.write(worker_pb2.WorkerMessage())


async def _refused_call(stub: Any) -> tuple[grpc.StatusCode, str]:
    call = stub.Session()
    status = CallStatus(call)
    writer = asyncio.create_task(_write(call))
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    received = await status.received()
    call.cancel()
    await writer
    return received


def test_a_refusal_is_received_whatever_is_being_written_meanwhile() -> None:
    async def scenario() -> None:
        server = grpc.aio.server()
        serve_sessions(server, _refuse)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = worker_pb2_grpc.WorkerServiceStub(channel)
            received = {await _refused_call(stub) for _ in range(CALLS)}
        await server.stop(None)
        assert received == {(grpc.StatusCode.UNAUTHENTICATED, "wrong token")}

    play(scenario)
