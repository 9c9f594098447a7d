"""CPU time and commits of a 3-step execution in history, matching and core, on a store in memory.

    python -m benchmarks.history [--executions N] [--at-once N] [--profile]

There is no SDK, no network and no disk in it: the worker makes the same calls as a real one, and
nothing else.
"""

import argparse
import asyncio
import cProfile
import pstats
import secrets
import time
from collections.abc import Iterator
from typing import Final

from perdure_core.commands import CompletionStatus
from perdure_core.model import OperationAction, OperationType, OperationUpdate
from perdure_history.service import HistoryService
from perdure_host.clock import SteadyClock
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import FunctionRow
from perdure_host.services import StartRequest, Task
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService

FUNCTION: Final = FunctionRow(
    namespace="default",
    name="order",
    execution_timeout_s=86_400,
    retention_days=14,
    durable=True,
)
UPDATES: Final = tuple(
    (
        OperationUpdate(id=name, type=OperationType.STEP, action=OperationAction.START, name=name),
        OperationUpdate(
            id=name,
            type=OperationType.STEP,
            action=OperationAction.SUCCEED,
            name=name,
            payload='{"price": 42}',
        ),
    )
    for name in ("reserve", "charge", "ship")
)


class Bench:
    """A node, and a worker that runs three steps in each execution."""

    def __init__(self) -> None:
        self.metrics = ServerMetrics()
        clock = SteadyClock()
        self.matching = MatchingService(clock, self.metrics)
        self.history = HistoryService(
            store=MemoryStore(),
            clock=clock,
            metrics=self.metrics,
            signer=Signer(secrets.token_bytes(32)),
            matching=self.matching,
            node_name="bench",
            address="bench:1",
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = 0
        self._done = asyncio.Event()

    async def run(self, executions: int, at_once: int) -> None:
        """Run `executions` executions, `at_once` of them at a time."""
        self._left = executions
        self._done.clear()
        self.matching.attach("bench", [("default", "order")], self._deliver)
        self.matching.credit("bench", at_once)
        starts = iter(range(executions))
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._start(starts))
        await self._done.wait()

    async def _start(self, starts: Iterator[int]) -> None:
        for _ in starts:
            await self.history.commands.start(
                StartRequest(namespace="default", function="order", input='{"order": 7}')
            )

    def _deliver(self, task: Task) -> None:
        running = asyncio.get_running_loop().create_task(self._work(task))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    async def _work(self, task: Task) -> None:
        history = self.history
        offer = await history.invocations.begin(task.key, "bench")
        assert offer is not None
        token = offer.token
        for number, updates in enumerate(UPDATES):
            answer = await history.invocations.checkpoint(token, f"call-{number}", updates)
            token = answer.token
        await history.invocations.complete(
            token, CompletionStatus.SUCCEEDED, result='"done"', error=None
        )
        self._left -= 1
        if self._left:
            self.matching.credit("bench", 1)
        else:
            self._done.set()


async def main(executions: int = 2_000, at_once: int = 64, *, profiled: bool = False) -> None:
    """Warm up, measure, and print the cost."""
    bench = Bench()
    await bench.history.open()
    await bench.history.invocations.register_functions([FUNCTION])
    await bench.run(min(200, executions), at_once)
    commits = bench.metrics.registry.get_sample_value("perdure_commits_total") or 0
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    began = time.process_time()
    await bench.run(executions, at_once)
    cpu_ms = (time.process_time() - began) * 1_000
    profile.disable()
    commits = (bench.metrics.registry.get_sample_value("perdure_commits_total") or 0) - commits
    print(f"{executions:,} executions of 3 steps, {at_once} at once")
    print(f"{cpu_ms / executions:.3f} CPU-ms per execution")
    print(f"{commits / executions:.2f} commits per execution")
    await bench.history.close()
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="CPU and commits of history, per execution")
    parser.add_argument("--executions", type=int, default=2_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.executions, arguments.at_once, profiled=arguments.profile))
