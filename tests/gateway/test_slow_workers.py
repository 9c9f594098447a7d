"""A worker that takes nothing off its stream: what waits for it is bounded, and lost is nothing."""

import asyncio
from typing import Any, cast

import pytest

from perdure_gateway.admission.memory_budget import BUDGET_BYTES_MAX
from perdure_gateway.workers import stream_session
from perdure_gateway.workers.stream_session import WorkerSession
from perdure_proto.v1 import worker_pb2
from tests.gateway.serving import all_is_free, registration, run, serving, start_request

EXECUTIONS = 100
INPUT = "1" * 15_000
LENT_MAX = 4
UNSENT_MAX = 100_000


class Stream:
    """The server's end of a stream, whose other end reads only while `open` is set."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[worker_pb2.WorkerMessage] = asyncio.Queue()
        self.sent: list[worker_pb2.ServerMessage] = []
        self.open = asyncio.Event()
        self.written = asyncio.Event()

    async def read(self) -> worker_pb2.WorkerMessage:
        return await self.received.get()

    async def write(self, message: worker_pb2.ServerMessage) -> None:
        await self.open.wait()
        self.sent.append(message)
        self.written.set()

    def invocations(self) -> set[str]:
        """Return the executions whose invocations were sent."""
        return {each.execution_arn for sent in self.sent for each in sent.invocations.invocations}


def test_what_a_slow_worker_has_not_taken_is_bounded_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_session, "LENT_SLOTS_MAX", LENT_MAX)
    monkeypatch.setattr(stream_session, "UNSENT_BYTES_MAX", UNSENT_MAX)

    async def main() -> None:
        async with serving() as served:
            stream = Stream()
            context = cast("Any", stream)
            session = WorkerSession(context, served.registry, registration(slots=EXECUTIONS))
            running = asyncio.ensure_future(session.run())
            stream.open.set()
            await stream.written.wait()
            stream.open.clear()
            credit = worker_pb2.WorkerMessage(credit=worker_pb2.Credit(slots=EXECUTIONS))
            stream.received.put_nowait(credit)
            arns: set[str] = set()
            for _ in range(EXECUTIONS):
                answer = await served.executions.StartExecution(start_request(input=INPUT))
                arns.add(answer.execution_arn)
            held = BUDGET_BYTES_MAX - served.registry.budget.free
            assert UNSENT_MAX <= held <= UNSENT_MAX + (LENT_MAX + 1) * 2 * len(INPUT)
            stream.open.set()
            while stream.invocations() != arns:
                stream.written.clear()
                await stream.written.wait()
            await all_is_free(served)
            assert session.free == 0
            running.cancel()
            await asyncio.wait({running})

    run(main)
