"""Telling a sink what becomes of executions: page by page, oldest first, one page at a time.

Rows are written by the commit that changes the status and deleted once the sink has them for good,
so a crash in between tells a page again, with the same ids. One deliverer reads always the oldest
rows and deletes what it read before it reads on. Hence an execution's events are told in order, and
nothing but a page is in memory, however long the sink is away.

Must stay true: nothing here is awaited by anything else, and a node that does not serve, since it
reloads or was replaced, tells nobody anything.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from perdure_history.committer import Batch
from perdure_host.errors import SinkError, StoreError
from perdure_host.lambda_json.status_events import status_event
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, StatusEventRow, StatusSink, Store
from perdure_host.telemetry import open_log

# Events that are told, and deleted, at once; what a crash can tell again.
PAGE_MAX: Final = 500
# A longer backlog is counted again when that much of it is gone.
BACKLOG_COUNTED_MAX: Final = 100_000
BACKOFF_MS_LEAST: Final = 500
BACKOFF_MS_MAX: Final = 30_000
# How long a node that stops waits for the sink to take what it is being told.
STOP_S_MAX: Final = 2.0

_log = open_log("perdure.history")


class StatusDeliverer:
    """Brings status events to the one sink of this node."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: ServerMetrics,
        sink: StatusSink,
        *,
        is_serving: Callable[[], bool],
        forget: Callable[[Sequence[StatusEventRow]], Batch],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._sink = sink
        self._is_serving = is_serving
        self._forget = forget
        # What the sink has and the database still holds; at most a page.
        self._told: Sequence[StatusEventRow] = ()
        self._backlog = 0
        self._oldest_ms: int | None = None
        self._backoff_ms = BACKOFF_MS_LEAST
        self._wake = asyncio.Event()
        self._wake.set()
        # Held while a page is told.
        self._page = asyncio.Lock()
        metrics.status_events_backlog.set_function(lambda: self._backlog)
        metrics.status_events_oldest_age_seconds.set_function(self._oldest_age_s)

    def note(self, rows: Sequence[StatusEventRow]) -> None:
        """Hear of rows that are durable now."""
        self._backlog += len(rows)
        if self._oldest_ms is None:
            self._oldest_ms = rows[0].at_ms
        self._wake.set()

    def reset(self) -> None:
        """Look at everything again: the node serves, as it did not before."""
        self._wake.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._tell_page():
                    pass
            except (SinkError, StoreError) as error:
                await self._back_off(error)

    async def stop(self) -> None:
        """Begin no further page; return when the one under way is done, or after STOP_S_MAX."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S_MAX):
                await self._page.acquire()

    async def _tell_page(self) -> bool:
        """Tell the oldest events; say whether there may be more. Raises SinkError, StoreError."""
        async with self._page:
            if not self._is_serving():
                return False
            await self._forget_told()
            rows = await self._store.status_events(limit=PAGE_MAX)
            await self._measure(rows)
            # Another node may have taken over while this one read.
            if not rows or not self._is_serving():
                return False
            await self._sink.deliver([status_event(row) for row in rows])
            self._metrics.status_events_told.inc(len(rows))
            self._told = rows
            await self._forget_told()
            self._backoff_ms = BACKOFF_MS_LEAST
            if not self._backlog:
                self._oldest_ms = None
            return len(rows) == PAGE_MAX

    async def _forget_told(self) -> None:
        """Delete what the sink has; until that is durable nothing else is told."""
        if self._told:
            await self._forget(self._told).wait()
            self._backlog = max(0, self._backlog - len(self._told))
            self._told = ()

    async def _measure(self, rows: Sequence[StatusEventRow]) -> None:
        """Take stock. A page that is not full is all there is; a full one may be less than that."""
        self._oldest_ms = rows[0].at_ms if rows else None
        if len(rows) < PAGE_MAX:
            self._backlog = len(rows)
        elif self._backlog <= len(rows):
            self._backlog = await self._store.count_status_events(limit=BACKLOG_COUNTED_MAX)

    async def _back_off(self, error: SinkError | StoreError) -> None:
        if isinstance(error, SinkError):
            self._metrics.status_events_failures.inc()
        retry_ms = self._backoff_ms
        self._backoff_ms = min(2 * retry_ms, BACKOFF_MS_MAX)
        _log.warning(
            "status-change events wait; trying again",
            error=str(error),
            backlog=self._backlog,
            retry_ms=retry_ms,
        )
        await self._clock.wait_until(self._clock.now_ms() + retry_ms)
        self._wake.set()

    def _oldest_age_s(self) -> float:
        oldest_ms = self._oldest_ms
        return 0.0 if oldest_ms is None else max(0, self._clock.now_ms() - oldest_ms) / 1_000
