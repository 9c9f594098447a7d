"""Cost of executions that sleep for a day: memory, disk, and time to recover after kill -9.

    python -m benchmarks.sleepers --count 100000

The server keeps active executions in bounded caches. The first half of the sleepers fills them, so
the others must cost no more memory.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perdure import AsyncClient
from tests.system.processes import ROOT, Machine

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
COUNT_DEFAULT: Final = 100_000
CALLERS: Final = 128
DAY_S: Final = 86_400
SETTLE_S_MAX: Final = 300.0
POLL_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Results of one run, in bytes and seconds."""

    first: int
    further: int
    starts_per_s: float
    asleep_per_s: float
    memory_empty: int
    memory_first: int
    memory_full: int
    cached: int
    disk: int
    serving_s: float
    completed_s: float
    completed_cpu_s: float
    memory_restarted: int

    @property
    def memory_per_sleeper(self) -> float:
        """Return the memory that each of the further ones added to the server."""
        return (self.memory_full - self.memory_first) / self.further

    @property
    def memory_per_cached(self) -> float:
        """Return the memory that each of the first ones added to the server."""
        return (self.memory_first - self.memory_empty) / self.first

    @property
    def count(self) -> int:
        """Return how many sleep."""
        return self.first + self.further

    def report(self) -> str:
        """Return the figures as text."""
        lines = (
            f"{self.count:,} executions asleep for a day, on SQLite",
            f"started {self.starts_per_s:,.0f} a second; asleep {self.asleep_per_s:,.0f} a second",
            f"memory with none {mb(self.memory_empty)}",
            f"memory with {self.first:,} {mb(self.memory_first)}",
            f"memory with all {mb(self.memory_full)}, {self.cached:,} of them in the cache",
            f"memory for each of {self.further:,} more: {self.memory_per_sleeper:,.0f} bytes",
            f"disk {mb(self.disk)}: {self.disk / self.count:,.0f} bytes each",
            f"healthy {self.serving_s:.2f} s after kill -9, memory {mb(self.memory_restarted)}",
            f"an execution started and completed {self.completed_s:.2f} s after kill -9",
            f"by then the new server has kept a processor busy for {self.completed_cpu_s:.2f} s",
        )
        return "\n  ".join(lines)


def mb(size: float) -> str:
    """Return bytes as megabytes."""
    return f"{size / 1_000_000:.1f} MB"


async def measure(machine: Machine, first: int, further: int) -> Figures:
    """Put so many executions to sleep on an empty machine, kill its server, and start it again."""
    count = first + further
    machine.start_server()
    machine.start_worker(PROGRAMS)
    machine.wait_for_worker("sleeper")
    async with machine.async_client() as client:
        await client.run("nothing", 0)
        empty = machine.memory_bytes()
        began_s = time.monotonic()
        await put_to_sleep(client, first)
        await wait_until_asleep(machine, first)
        memory_first = machine.memory_bytes()
        first_s = time.monotonic()
        await put_to_sleep(client, further)
        started_s = time.monotonic()
        await wait_until_asleep(machine, count)
        asleep_s = time.monotonic()
        full = machine.memory_bytes()
        cached = int(machine.metrics().value("perdure_cache_executions"))
        disk = sum(file.stat().st_size for file in machine.folder.glob("perdure.db*"))
        machine.kill("server")
        killed_s = time.monotonic()
        machine.start_server()
        serving_s = time.monotonic()
        await client.run("nothing", 1)
        completed_s = time.monotonic()
        return Figures(
            first=first,
            further=further,
            starts_per_s=further / (started_s - first_s),
            asleep_per_s=count / (asleep_s - began_s),
            memory_empty=empty,
            memory_first=memory_first,
            memory_full=full,
            cached=cached,
            disk=disk,
            serving_s=serving_s - killed_s,
            completed_s=completed_s - killed_s,
            completed_cpu_s=machine.cpu_s(),
            memory_restarted=machine.memory_bytes(),
        )


async def put_to_sleep(client: AsyncClient, count: int) -> None:
    """Start `count` executions, some at a time, and return when all starts are acknowledged."""
    numbers = itertools.count()

    async def caller() -> None:
        while next(numbers) < count:
            await client.start("sleeper", {"seconds": DAY_S})

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())


async def wait_until_asleep(machine: Machine, count: int) -> None:
    """Return once `count` invocations have been suspended."""
    async with asyncio.timeout(SETTLE_S_MAX):
        while True:
            metrics = await asyncio.to_thread(machine.metrics)
            if metrics.value("perdure_invocations_total", outcome="pending") >= count:
                return
            await asyncio.sleep(POLL_S)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT_DEFAULT)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder)) as machine:
        print(asyncio.run(measure(machine, count // 2, count - count // 2)).report())


if __name__ == "__main__":
    main()
