"""Periodic work of a node: one run at a time, and a late one once."""

import asyncio

from perdure_cli.node_maintenance import Maintenance
from perdure_host.errors import StoreUnavailable

PERIOD_S = 0.01


def test_work_is_repeated_whatever_a_run_raises() -> None:
    asyncio.run(_repeated())


async def _repeated() -> None:
    runs: asyncio.Queue[int] = asyncio.Queue()
    counts = iter(range(100))

    async def fail() -> None:
        count = next(counts)
        runs.put_nowait(count)
        if count == 0:
            raise StoreUnavailable("away")
        if count == 1:
            raise ValueError("a mistake")

    maintenance = Maintenance()
    maintenance.start([("fail", PERIOD_S, fail)])
    async with asyncio.timeout(10):
        assert [await runs.get() for _ in range(3)] == [0, 1, 2]
    assert maintenance.stop()
    assert not maintenance.stop()


def test_a_run_that_is_late_is_made_up_for_once() -> None:
    asyncio.run(_late())


async def _late() -> None:
    maintenance = Maintenance()
    loop = asyncio.get_running_loop()
    began: list[float] = []
    done = asyncio.Event()

    async def run() -> None:
        began.append(loop.time())
        if len(began) == 1:
            # As long as many periods.
            await asyncio.sleep(20 * PERIOD_S)
        if len(began) == 3:
            done.set()

    maintenance.start([("run", PERIOD_S, run)])
    async with asyncio.timeout(10):
        await done.wait()
    maintenance.stop()
    assert began[2] - began[1] >= PERIOD_S
