"""Delivering what executions tell each other: starts of children, ends of children.

A row is written with the change that caused it and deleted once its effect is durable, so a crash
in between delivers it again; receivers take the second delivery for the first (child identities are
derived, ends are known already).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from perdure_core.decision import Delivery
from perdure_host.errors import StoreError
from perdure_host.ports import Clock, OutboxRow, Store
from perdure_host.telemetry import open_log

# Rows that wait in memory; what does not fit is read from the database later.
QUEUE_ROWS_MAX: Final = 10_000
QUEUE_BYTES_MAX: Final = 32 * 1_024 * 1_024
_AT_ONCE_MAX: Final = 64
# More than can be under way, so that a full page always holds something new.
_PAGE: Final = 100
_RETRY_MS: Final = 1_000

_decoder: Final[msgspec.msgpack.Decoder[Delivery]] = msgspec.msgpack.Decoder(Delivery)
_encoder: Final = msgspec.msgpack.Encoder()
_log = open_log("perdure.history")


def encode_delivery(delivery: Delivery) -> bytes:
    """Return the body of an outbox row."""
    return _encoder.encode(delivery)


class OutboxDeliverer:
    """Hands rows to their receivers, several at once, each until it is durable there."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        deliver: Callable[[Delivery, OutboxRow], Awaitable[None]],
        *,
        queue_rows_max: int = QUEUE_ROWS_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._queue_rows_max = queue_rows_max
        self._queue: deque[OutboxRow] = deque()
        self._queue_bytes = 0
        # True while rows may be in the database that are neither queued nor under way.
        self._unread = True
        self._under_way: set[tuple[int, str]] = set()
        self._wake = asyncio.Event()
        self._wake.set()
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)

    def __len__(self) -> int:
        """Return how many rows are queued or under way."""
        return len(self._queue) + len(self._under_way)

    def push(self, rows: tuple[OutboxRow, ...]) -> None:
        """Take rows that are durable now."""
        for row in rows:
            if len(self._queue) >= self._queue_rows_max or self._queue_bytes >= QUEUE_BYTES_MAX:
                self._unread = True
            else:
                self._append(row)
        self._wake.set()

    def reset(self) -> None:
        """Read everything again."""
        self._queue.clear()
        self._queue_bytes = 0
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
        await self._at_once.acquire()
        row = self._take()
        if row is None or (row.bucket, row.outbox_id) in self._under_way:
            self._at_once.release()
            return
        self._under_way.add((row.bucket, row.outbox_id))
        group.create_task(self._deliver_one(row))

    async def _read(self) -> None:
        """Read what is in the database; a full queue is read on when it has emptied."""
        # Whoever says from now on that there is more to read is not contradicted.
        self._unread = False
        try:
            rows = await self._store.outbox(after=None, limit=_PAGE)
        except StoreError as error:
            _log.warning("cannot read the outbox; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            return
        for row in rows:
            if (row.bucket, row.outbox_id) not in self._under_way:
                self._append(row)
        if len(rows) == _PAGE:
            self._unread = True

    async def _deliver_one(self, row: OutboxRow) -> None:
        try:
            await self._deliver(_decoder.decode(row.body), row)
        except StoreError as error:
            _log.info("a delivery failed; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            self._wake.set()
        finally:
            self._under_way.discard((row.bucket, row.outbox_id))
            self._at_once.release()

    def _append(self, row: OutboxRow) -> None:
        self._queue.append(row)
        self._queue_bytes += len(row.body)

    def _take(self) -> OutboxRow | None:
        """Return the oldest row; None when a reset came in between."""
        if not self._queue:
            return None
        row = self._queue.popleft()
        self._queue_bytes -= len(row.body)
        return row
