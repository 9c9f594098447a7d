"""Periodic work of a node: lease, retention, scans, expired workers. One scheduler, a few jobs.

Must stay true: a job never overlaps with itself, a run that fails is logged and does not stop later
runs, and a late job runs once, not once for each run that was missed.
"""

from collections.abc import Awaitable, Callable, Sequence

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from perdure_host.errors import HostError
from perdure_host.telemetry import open_log, report_incident

# A name, a period in seconds, and the function to run.
Work = tuple[str, float, Callable[[], Awaitable[None]]]

_log = open_log("perdure.node")


class Maintenance:
    """Runs periodic work in the running loop."""

    def __init__(self) -> None:
        self._scheduler: AsyncIOScheduler | None = None

    def start(self, works: Sequence[Work]) -> None:
        """Start all jobs; each runs for the first time one period from now."""
        scheduler = AsyncIOScheduler(timezone="UTC")
        for name, period_s, work in works:
            scheduler.add_job(  # pyright: ignore[reportUnknownMemberType] - published without types
                _run_once,
                _every(period_s),
                args=(name, work),
                id=name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> bool:
        """Start no more runs; return whether the jobs had been started."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is None:
            return False
        scheduler.shutdown(wait=False)
        return True


def _every(period_s: float) -> IntervalTrigger:
    # Fractions work, whatever the annotation says: the period becomes a timedelta.
    return IntervalTrigger(seconds=period_s)  # pyright: ignore[reportArgumentType]


async def _run_once(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except HostError as error:
        _log.warning("periodic work failed; it will be retried", work=name, error=str(error))
    except Exception as error:  # noqa: BLE001 - the next run may succeed, and the node needs it
        report_incident(_log, error)
