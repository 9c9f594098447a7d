"""Delivery of status events to a sink: page by page, oldest first, one page at a time.

Rows are written by the commit that changes the status and deleted once the sink has stored them, so
a crash in between delivers a page again, with the same ids. The one deliverer always reads the
oldest rows and deletes what it delivered before it reads on. Hence an execution's events arrive in
order, and only one page is in memory, however long the sink is down.

Must stay true: nothing else waits for this, and a node that does not serve, because it reloads or
was replaced, delivers nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from perdure_history.committer import Batch
from perdure_host.errors import SinkError, StoreError, is_outage
from perdure_host.lambda_json.status_events import status_event
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, StatusEventRow, StatusSink, Store
from perdure_host.telemetry import open_log

# Events that are delivered, and deleted, at once; a crash can deliver this many again.
PAGE_MAX: Final = 500
# A longer backlog is counted again when this much of it is delivered.
BACKLOG_COUNTED_MAX: Final = 100_000
BACKOFF_MS_LEAST: Final = 500
BACKOFF_MS_MAX: Final = 30_000
# The time that a stopping node waits for the sink to accept the current page.
STOP_S_MAX: Final = 2.0

_log = open_log("perdure.history")


class StatusEventDelivery:
    """Delivers status events to the one sink of this node."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: ServerMetrics,
        sink: StatusSink,
        *,
        is_serving: Callable[[], bool],
        delete: Callable[[Sequence[StatusEventRow]], Batch],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._sink = sink
        self._is_serving = is_serving
        self._delete = delete
        # Events that the sink has stored and the database still holds; at most a page.
        self._delivered: Sequence[StatusEventRow] = ()
        self._backlog = 0
        self._oldest_ms: int | None = None
        self._backoff_ms = BACKOFF_MS_LEAST
        self._wake = asyncio.Event()
        self._wake.set()
        # Held while a page is delivered.
        self._page = asyncio.Lock()
        metrics.status_events_backlog.set_function(lambda: self._backlog)
        metrics.status_events_oldest_age_seconds.set_function(self._oldest_age_s)

    def add(self, rows: Sequence[StatusEventRow]) -> None:
        """Count rows that are durable now, and wake the delivery."""
        self._backlog += len(rows)
        if self._oldest_ms is None:
            self._oldest_ms = rows[0].at_ms
        self._wake.set()

    def reset(self) -> None:
        """Read the rows again, because the node serves again."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._deliver_page():
                    pass
            except (SinkError, StoreError) as error:
                await self._back_off(error)

    async def stop(self) -> None:
        """Start no further page; return when the current one is done, or after STOP_S_MAX."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S_MAX):
                await self._page.acquire()

    async def _deliver_page(self) -> bool:
        """Deliver the oldest events; return whether there may be more.

        Raises SinkError, StoreError.
        """
        async with self._page:
            if not self._is_serving():
                return False
            await self._delete_delivered()
            rows = await self._store.status_events(limit=PAGE_MAX)
            await self._measure(rows)
            # Another node may have taken over while this one read.
            if not rows or not self._is_serving():
                return False
            await self._sink.deliver([status_event(row) for row in rows])
            self._metrics.status_events_told.inc(len(rows))
            self._delivered = rows
            await self._delete_delivered()
            self._backoff_ms = BACKOFF_MS_LEAST
            if not self._backlog:
                self._oldest_ms = None
            return len(rows) == PAGE_MAX

    async def _delete_delivered(self) -> None:
        """Delete what was delivered; until that is durable nothing else is delivered."""
        if self._delivered:
            await self._delete(self._delivered).wait()
            self._backlog = max(0, self._backlog - len(self._delivered))
            self._delivered = ()

    async def _measure(self, rows: Sequence[StatusEventRow]) -> None:
        """Update the backlog. A page that is not full is all of it; otherwise count if need be."""
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
        if not is_outage(error):
            _log.warning(
                "status events cannot be delivered; trying again",
                error=str(error),
                backlog=self._backlog,
                retry_ms=retry_ms,
            )
        await self._clock.wait_until(self._clock.now_ms() + retry_ms)
        self._wake.set()

    def _oldest_age_s(self) -> float:
        oldest_ms = self._oldest_ms
        return 0.0 if oldest_ms is None else max(0, self._clock.now_ms() - oldest_ms) / 1_000
