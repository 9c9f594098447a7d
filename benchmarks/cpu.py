"""CPU time of an execution in server, worker and client, each a process of its own.

    python -m benchmarks.cpu

On a shared machine, CPU time shows the effect of a change better than executions per second.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from perdure import AsyncClient
from tests.system.processes import ROOT, Machine

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
WARM: Final = 200
POLL_S: Final = 0.1
DAY_S: Final = 86_400

Work = Callable[[AsyncClient], Awaitable[object]]


async def three_steps(client: AsyncClient) -> object:
    """Run an execution of three steps, from start to result."""
    return await client.run("three_steps", 0)


async def sleeper(client: AsyncClient) -> object:
    """Start an execution that sleeps."""
    return await client.start("sleeper", {"seconds": DAY_S})


async def measure(name: str, work: Work, *, count: int, callers: int) -> None:
    """Run `work` `count` times on an empty machine; print the cost of each."""
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder)) as machine:
        server = machine.start_server()
        worker = machine.start_worker(PROGRAMS, slots=256)
        machine.wait_for_worker("three_steps")
        processes = [psutil.Process(each.pid) for each in (server, worker)] + [psutil.Process()]
        async with machine.async_client() as client:
            await repeat(client, work, WARM, callers)
            await wait_until_idle(machine, WARM)
            before = spent_s(processes)
            await repeat(client, work, count, callers)
            await wait_until_idle(machine, WARM + count)
            after = spent_s(processes)
    costs_ms = [(now - then) * 1_000 / count for then, now in zip(before, after, strict=True)]
    print("{:40} server {:.2f} ms   worker {:.2f} ms   client {:.2f} ms".format(name, *costs_ms))


async def repeat(client: AsyncClient, work: Work, count: int, callers: int) -> None:
    """Run `work` `count` times, with so many concurrent callers."""
    numbers = itertools.count()

    async def caller() -> None:
        while next(numbers) < count:
            await work(client)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())


async def wait_until_idle(machine: Machine, invocations: int) -> None:
    """Return once so many invocations have ended."""
    while True:
        metrics = await asyncio.to_thread(machine.metrics)
        if metrics.value("perdure_invocations_total") >= invocations:
            return
        await asyncio.sleep(POLL_S)


def spent_s(processes: Sequence[psutil.Process]) -> list[float]:
    """Return the CPU time that each process has used so far."""
    times = [process.cpu_times() for process in processes]
    return [each.user + each.system for each in times]


async def main() -> None:
    """Print the costs."""
    await measure("3-step execution, 64 callers", three_steps, count=3_000, callers=64)
    await measure("started sleeper, 128 callers", sleeper, count=6_000, callers=128)


if __name__ == "__main__":
    asyncio.run(main())
