"""Outbox: deliveries between executions, which are starts and ends of children.

A row is written with the change that caused it and deleted once its effect is durable, so a crash
in between delivers it again. A second delivery has no effect: child identities are derived from the
parent, and an end that is known already is ignored.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from perdure_core.decision import Delivery
from perdure_core.refusals import Quarantined
from perdure_host.errors import StoreError, is_outage
from perdure_host.ports import Clock, ExecutionKey, OutboxRow, Store
from perdure_host.quarantine import Quarantine, in_words
from perdure_host.telemetry import open_log

# Rows that wait in memory; the others are read from the database later.
QUEUE_ROWS_MAX: Final = 10_000
QUEUE_BYTES_MAX: Final = 32 * 1_024 * 1_024
# Rows that are set aside; beyond these they are tried again, a page after the other.
ASIDE_MAX: Final = 10_000
_CONCURRENT_MAX: Final = 64
# More than can be in delivery, so that a full page always holds something new.
_PAGE: Final = 100
_RETRY_MS: Final = 1_000

_Place = tuple[int, str]

_decoder: Final[msgspec.msgpack.Decoder[Delivery]] = msgspec.msgpack.Decoder(Delivery)
_encoder: Final = msgspec.msgpack.Encoder()
_log = open_log("perdure.history")


def outbox_rows(
    sender: ExecutionKey, sequence: int, deliveries: Sequence[Delivery]
) -> tuple[OutboxRow, ...]:
    """Return the rows of what the record of this number sends."""
    prefix = f"{sender.execution_id}-{sequence}"
    return tuple(
        [
            OutboxRow(sender.bucket, f"{prefix}-{index}", _encoder.encode(delivery))
            for index, delivery in enumerate(deliveries)
        ]
    )


class OutboxDeliverer:
    """Delivers outbox rows, several at once, each until its effect is durable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        deliver: Callable[[Delivery, OutboxRow], Awaitable[None]],
        quarantine: Quarantine,
        *,
        queue_rows_max: int = QUEUE_ROWS_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._quarantine = quarantine
        # Rows that cannot be delivered as things are; they stay in the database.
        self._aside: set[_Place] = set()
        # The end of the page that was read last, while there is another page after it.
        self._after: _Place | None = None
        self._queue_rows_max = queue_rows_max
        self._queue: deque[OutboxRow] = deque()
        self._queue_bytes = 0
        # True while rows may be in the database that are neither queued nor in delivery.
        self._unread = True
        self._in_delivery: set[tuple[int, str]] = set()
        self._wake = asyncio.Event()
        self._wake.set()
        self._concurrency = asyncio.Semaphore(_CONCURRENT_MAX)

    def __len__(self) -> int:
        """Return how many rows are queued or in delivery."""
        return len(self._queue) + len(self._in_delivery)

    def push(self, rows: tuple[OutboxRow, ...]) -> None:
        """Queue rows that are durable now."""
        for row in rows:
            if len(self._queue) >= self._queue_rows_max or self._queue_bytes >= QUEUE_BYTES_MAX:
                self._unread = True
            else:
                self._append(row)
        self._wake.set()

    def reset(self) -> None:
        """Drop the queue and read the rows again."""
        self._queue.clear()
        self._queue_bytes = 0
        self._aside.clear()
        self._after = None
        self._unread = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue or self._unread:
                    if not self._queue:
                        await self._read()
                    while self._queue:
                        await self._start(group)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        await self._concurrency.acquire()
        row = self._take()
        if row is None or (row.bucket, row.outbox_id) in self._in_delivery:
            self._concurrency.release()
            return
        self._in_delivery.add((row.bucket, row.outbox_id))
        group.create_task(self._deliver_one(row))

    async def _read(self) -> None:
        """Read a page of rows from the database into the queue."""
        # Before the read: a `push` or `reset` meanwhile must stay noted.
        self._unread = False
        try:
            rows = await self._store.outbox(after=self._after, limit=_PAGE)
        except StoreError as error:
            if not is_outage(error):
                _log.warning("cannot read the outbox; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            return
        is_new = False
        for row in rows:
            place = (row.bucket, row.outbox_id)
            if place not in self._in_delivery and place not in self._aside:
                self._append(row)
                is_new = True
        # A page without anything new is passed over; then reading begins at the front again.
        self._after = None
        if len(rows) == _PAGE:
            self._unread = True
            if not is_new:
                self._after = (rows[-1].bucket, rows[-1].outbox_id)

    async def _deliver_one(self, row: OutboxRow) -> None:
        try:
            await self._deliver(_decoder.decode(row.body), row)
        except Quarantined:
            # Its sender, its receiver or the child is. All of it is logged, and waits for them.
            self._set_aside(row)
        except Exception as error:  # noqa: BLE001 - one row may not end the others
            if not isinstance(error, StoreError):
                self._set_aside(row)
                place = f"{row.bucket} {row.outbox_id}"
                self._quarantine.add_row("outbox", place, in_words(error))
                return
            if not is_outage(error):
                _log.info("a delivery failed; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            self._wake.set()
        finally:
            self._in_delivery.discard((row.bucket, row.outbox_id))
            self._concurrency.release()

    def _set_aside(self, row: OutboxRow) -> None:
        if len(self._aside) < ASIDE_MAX:
            self._aside.add((row.bucket, row.outbox_id))

    def _append(self, row: OutboxRow) -> None:
        self._queue.append(row)
        self._queue_bytes += len(row.body)

    def _take(self) -> OutboxRow | None:
        """Remove and return the oldest row; None when a reset emptied the queue meanwhile."""
        if not self._queue:
            return None
        row = self._queue.popleft()
        self._queue_bytes -= len(row.body)
        return row
