"""Periodic work of a node: lease, retention, scans, expired workers. One task for each job.

Must stay true: a job never overlaps with itself, a run that fails is logged and does not stop later
runs, a late job runs once, not once for each run that was missed, and no job waits for the wall
clock, which can be set back by a day.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from perdure_host.errors import HostError, is_outage
from perdure_host.telemetry import open_log, report_incident

# A name, a period in seconds, and the function to run.
Work = tuple[str, float, Callable[[], Awaitable[None]]]

_log = open_log("perdure.node")


class Maintenance:
    """Runs periodic work in the running loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, works: Sequence[Work]) -> None:
        """Start all jobs; each runs for the first time one period from now."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(_repeat(*work), name=work[0]) for work in works]

    def stop(self) -> bool:
        """Start no more runs; return whether the jobs had been started."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        return bool(tasks)


async def _repeat(name: str, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run the work once in each period, until cancelled."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s = max(due_s + period_s, loop.time())
        await asyncio.sleep(due_s - loop.time())
        await _run_once(name, work)


async def _run_once(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except HostError as error:
        if not is_outage(error):
            _log.warning("periodic work failed; it will be retried", work=name, error=str(error))
    except Exception as error:  # noqa: BLE001 - the next run may succeed, and the node needs it
        report_incident(_log, error)
