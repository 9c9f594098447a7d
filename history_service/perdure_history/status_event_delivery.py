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

from perdure_history.committer import Submission
from perdure_host.errors import SinkError, StoreError, is_outage
from perdure_host.lambda_json.status_events import status_event
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, ExecutionKey, StatusEvent, StatusEventRow, StatusSink, Store
from perdure_host.quarantine import Quarantine, in_words
from perdure_host.telemetry import open_log

# Events that are delivered, and deleted, at once; a crash can deliver this many again.
PAGE_MAX: Final = 500
# A longer backlog is counted again when this much of it is delivered.
BACKLOG_COUNTED_MAX: Final = 100_000
# Rows that are set aside; beyond these they are tried again with each page.
ASIDE_MAX: Final = 10_000
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
        delete: Callable[[Sequence[StatusEventRow]], Submission],
        quarantine: Quarantine,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._sink = sink
        self._is_serving = is_serving
        self._delete = delete
        self._quarantine = quarantine
        # Rows that make no event; they stay in the database.
        self._aside: set[tuple[ExecutionKey, int]] = set()
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
            rows, is_full = await self._read()
            await self._measure(rows)
            # Another node may have taken over while this one read.
            if not rows or not self._is_serving():
                return False
            events = self._events(rows)
            if not events:
                return is_full and len(self._aside) < ASIDE_MAX
            await self._sink.deliver([event for _, event in events])
            rows = [row for row, _ in events]
            self._metrics.status_events_told.inc(len(rows))
            self._delivered = rows
            await self._delete_delivered()
            self._backoff_ms = BACKOFF_MS_LEAST
            if not self._backlog:
                self._oldest_ms = None
            return is_full

    async def _read(self) -> tuple[Sequence[StatusEventRow], bool]:
        """Return the oldest rows that are not set aside, and whether there may be more."""
        limit = PAGE_MAX + len(self._aside)
        found = await self._store.status_events(limit=limit)
        rows = [row for row in found if (row.key, row.event_id) not in self._aside]
        return rows[:PAGE_MAX], len(found) == limit

    def _events(self, rows: Sequence[StatusEventRow]) -> list[tuple[StatusEventRow, StatusEvent]]:
        """Return the events of the rows; a row that makes none is set aside."""
        events: list[tuple[StatusEventRow, StatusEvent]] = []
        for row in rows:
            try:
                events.append((row, status_event(row)))
            except Exception as error:  # noqa: BLE001 - one row may not end the others
                if len(self._aside) < ASIDE_MAX:
                    self._aside.add((row.key, row.event_id))
                place = f"{row.key.bucket} {row.key.execution_id} {row.event_id}"
                self._quarantine.add_row("status_event", place, in_words(error))
        return events

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
