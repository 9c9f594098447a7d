"""Loader of executions into the cache: one read, however many callers wait for it.

What was read stays in the cache until every waiting caller has seen it, even when more executions
are needed at the same time than the cache has room for.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from perdure_core.refusals import Quarantined, Unknown
from perdure_history.execution_cache import CachedExecution, ExecutionCache, fold_stored
from perdure_host.errors import Unreadable
from perdure_host.ports import ExecutionKey, Store, StoredExecution

# Executions with a longer history are read one by one, so that what is read at a time is small.
PREFETCH_RECORDS_MAX: Final = 100


class _Read:
    """One execution that is being read, and how many callers wait for it."""

    __slots__ = ("epoch", "execution", "task", "waiters")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.waiters = 0
        self.execution: CachedExecution | None = None
        self.task: asyncio.Task[None] | None = None


class Loader:
    """Fills the cache from the store."""

    def __init__(
        self,
        store: Store,
        cache: ExecutionCache,
        set_aside: Callable[[ExecutionKey, str], Quarantined],
    ) -> None:
        self._store = store
        self._set_aside = set_aside
        self._cache = cache
        self._reads: dict[ExecutionKey, _Read] = {}

    def __len__(self) -> int:
        """Return how many executions are being read."""
        return len(self._reads)

    async def load(self, key: ExecutionKey) -> None:
        """Return when the execution is in the cache, or the cache was cleared meanwhile.

        Raises Unknown, Quarantined, StoreUnavailable.
        """
        reading = self._reads.get(key)
        if reading is None or reading.epoch != self._cache.epoch:
            reading = self._begin(key)
        assert reading.task is not None
        reading.waiters += 1
        try:
            # A caller that is cancelled must not cancel the read for the others.
            await asyncio.shield(reading.task)
        finally:
            reading.waiters -= 1
            if reading.execution is not None:
                reading.execution.readers -= 1

    async def prefetch(self, keys: Sequence[ExecutionKey]) -> None:
        """Bring those of the executions into the cache that are quickly read. Raises StoreError."""
        readings: dict[ExecutionKey, _Read] = {}
        for key in keys:
            reading = self._reads.get(key)
            is_read = reading is not None and reading.epoch == self._cache.epoch
            if not is_read and self._cache.get(key) is None:
                readings[key] = _Read(self._cache.epoch)
        if not readings:
            return
        task = asyncio.get_running_loop().create_task(self._read_many(readings))
        for key, reading in readings.items():
            self._reads[key] = reading
            reading.task = task
            task.add_done_callback(partial(self._end, key, reading))
        await asyncio.shield(task)

    async def _read_many(self, readings: dict[ExecutionKey, _Read]) -> None:
        found = await self._store.load_many(list(readings), records_max=PREFETCH_RECORDS_MAX)
        for stored in found:
            try:
                await self._keep(stored, readings[stored.row.key])
            except Unreadable as error:
                self._set_aside(stored.row.key, str(error))

    def _begin(self, key: ExecutionKey) -> _Read:
        reading = self._reads[key] = _Read(self._cache.epoch)
        reading.task = asyncio.get_running_loop().create_task(self._read(key, reading))
        reading.task.add_done_callback(lambda task: self._end(key, reading, task))
        return reading

    async def _read(self, key: ExecutionKey, reading: _Read) -> None:
        try:
            stored = await self._store.load(key)
            if stored is not None:
                await self._keep(stored, reading)
                return
        except Unreadable as error:
            raise self._set_aside(key, str(error)) from error
        if reading.epoch == self._cache.epoch and self._cache.get(key) is None:
            raise Unknown(
                f"no execution {key.execution_id}: it never existed, or is past its retention"
            )

    async def _keep(self, stored: StoredExecution, reading: _Read) -> None:
        """Add what was read to the cache, unless that was cleared meanwhile. Raises Unreadable."""
        execution = await fold_stored(stored)
        if reading.epoch != self._cache.epoch:
            return
        if self._cache.get(stored.row.key) is not None:
            # It was started while it was being read.
            return
        execution.readers = reading.waiters
        reading.execution = execution
        self._cache.add(execution)

    def _end(self, key: ExecutionKey, reading: _Read, task: asyncio.Task[None]) -> None:
        if self._reads.get(key) is reading:
            del self._reads[key]
        if not task.cancelled():
            # All callers may be gone; asyncio must not log the error as never retrieved.
            task.exception()
