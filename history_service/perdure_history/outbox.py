"""Delivering what executions tell each other: starts of children, ends of children.

A row is written with the change that caused it and deleted once its effect is durable, so a crash in between delivers it
again; receivers take the second delivery for the first (child identities are derived, ends are known already).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from perdure_core.decision import Delivery
from perdure_host.errors import StoreError
from perdure_host.ports import Clock, OutboxRow, Store

_PAGE: Final = 1_000
_QUEUE_MAX: Final = 10_000
_AT_ONCE_MAX: Final = 64
_RETRY_MS: Final = 1_000

_decoder: Final[msgspec.msgpack.Decoder[Delivery]] = msgspec.msgpack.Decoder(Delivery)
_log = structlog.get_logger(__name__)


def encode_delivery(delivery: Delivery) -> bytes:
    """Return the body of an outbox row."""
    return msgspec.msgpack.encode(delivery)


class OutboxDeliverer:
    """Hands rows to their receivers, several at once, each until it is durable there."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        deliver: Callable[[Delivery, OutboxRow], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._queue: deque[OutboxRow] = deque()
        # True while rows may be in the database that are not in the queue.
        self._unread = True
        self._under_way: set[tuple[int, str]] = set()
        self._wake = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)

    def push(self, rows: tuple[OutboxRow, ...]) -> None:
        """Take rows that are durable now."""
        if len(self._queue) + len(rows) > _QUEUE_MAX:
            self._unread = True
        else:
            self._queue.extend(rows)
        self._wake.set()

    def reset(self) -> None:
        """Read everything again."""
        self._queue.clear()
        self._unread = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                if not self._queue and self._unread:
                    await self._read()
                if not self._queue:
                    await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._start(group, self._queue.popleft())

    async def _start(self, group: asyncio.TaskGroup, row: OutboxRow) -> None:
        row_id = (row.bucket, row.outbox_id)
        if row_id not in self._under_way:
            self._under_way.add(row_id)
            await self._at_once.acquire()
            group.create_task(self._deliver_one(row, row_id))

    async def _read(self) -> None:
        """Read what is in the database; a full queue is read on when it has emptied."""
        self._unread = False
        try:
            rows = await self._store.outbox(after=None, limit=_PAGE)
        except StoreError as error:
            _log.warning("cannot read the outbox; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            return
        fresh = [row for row in rows if (row.bucket, row.outbox_id) not in self._under_way]
        self._queue.extend(fresh)
        # A full page may have successors; what is under way would come again at once, so it is waited for.
        self._unread = len(rows) == _PAGE and bool(fresh)

    async def _deliver_one(self, row: OutboxRow, row_id: tuple[int, str]) -> None:
        try:
            await self._deliver(_decoder.decode(row.body), row)
        except StoreError as error:
            _log.info("a delivery failed; trying again", error=str(error))
            await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)
            self._unread = True
            self._wake.set()
        finally:
            self._under_way.discard(row_id)
            self._at_once.release()
