"""A worker beside a scripted server, and its handlers, for tests of the whole worker."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from perdure import DurableContext, DurableFunction, StepContext
from perdure.worker_api import FunctionSettings, RegisteredFunction
from perdure_host.channel import ConnectionSettings
from perdure_worker.runner import WorkerSettings, run_worker
from tests.worker.peer import DEADLINE_S, Peer

SCENARIO_S_MAX = 100.0


class Gate:
    """Holds handlers until a test releases them."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def pass_through(self) -> None:
        """Report that the handler has arrived, and wait."""
        self.entered.release()
        assert self._open.wait(DEADLINE_S)

    def open(self) -> None:
        """Release all handlers."""
        self._open.set()

    async def wait_entered(self) -> None:
        """Wait until one more handler is at the gate."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=DEADLINE_S)


class RunningWorker:
    """A worker that a test can stop."""

    def __init__(self, stop: asyncio.Event, running: "asyncio.Task[int]") -> None:
        self.stop = stop
        self._running = running

    async def wait_exit(self) -> int:
        """Return the exit code, once there is one."""
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.shield(self._running)


@asynccontextmanager
async def working(
    peer: Peer, *functions: RegisteredFunction, slots: int = 2, **settings: Any
) -> AsyncGenerator[RunningWorker]:
    """Run a worker against `peer` for the length of the block."""
    stop = asyncio.Event()
    settings.setdefault("connection", ConnectionSettings(server=f"127.0.0.1:{peer.port}"))
    settings.setdefault("grace_s", 0.0)
    running = asyncio.create_task(
        run_worker(functions, WorkerSettings(slots=slots, **settings), stop=stop)
    )
    worker = RunningWorker(stop, running)
    try:
        yield worker
    finally:
        stop.set()
        running.cancel()
        await asyncio.wait((running,))


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a loop of its own, against a deadline."""

    async def limited() -> None:
        async with asyncio.timeout(SCENARIO_S_MAX):
            await scenario()

    asyncio.run(limited())


def _one_step(event: Any, context: DurableContext) -> Any:
    def double(step: StepContext) -> Any:
        return event["number"] * 2

    return context.step(double, name="double")


def one_step(name: str = "handler") -> DurableFunction:
    """Return a function with one step, which doubles a number."""
    return DurableFunction(_one_step, FunctionSettings(name))


def gated(gate: Gate) -> DurableFunction:
    """Return a function that waits at a gate, between no durable calls, and then makes one."""

    def wait_at_gate(event: Any, context: DurableContext) -> Any:
        gate.pass_through()
        return context.step(lambda step: "through", name="after")

    return DurableFunction(wait_at_gate, FunctionSettings("handler"))
