"""Waking executions when their alarm is due.

Every execution has at most one alarm: the earliest of all that it waits for, one row in the database. Those due within
the horizon are kept in a heap; far ones cost their row and no memory. What must stay true: nothing fires before its time
(`Clock.wait_until`), and nothing due is forgotten: a heap entry may be stale or double, the state decides what is due.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from perdure_core.refusals import Refused
from perdure_host.errors import StoreError
from perdure_host.ports import Alarm, Clock, ExecutionKey, Store

from perdure_history.settings import HistorySettings

_PAGE: Final = 1_000
# Alarms that are handled at the same time; each may have to load its execution.
_AT_ONCE_MAX: Final = 256
_RETRY_MS: Final = 1_000

_log = structlog.get_logger(__name__)


class Timers:
    """The near horizon of alarms."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: HistorySettings,
        fire: Callable[[ExecutionKey], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._horizon_ms = settings.timer_horizon_ms
        self._fire = fire
        self._heap: list[Alarm] = []
        # Everything due up to here is in the heap.
        self._known_until_ms = 0
        self._next_load_ms = 0
        self._target_ms = 0
        self._wake = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)

    def __len__(self) -> int:
        """Return the number of heap entries."""
        return len(self._heap)

    def moved(self, key: ExecutionKey, due_ms: int | None) -> None:
        """Take note of an execution's new alarm, once it is durable."""
        if due_ms is None or due_ms > self._known_until_ms:
            return
        heapq.heappush(self._heap, Alarm(due_ms, key))
        if due_ms < self._target_ms:
            self._wake.set()

    def reset(self) -> None:
        """Forget what is known and read it again."""
        self._heap.clear()
        self._known_until_ms = 0
        self._next_load_ms = 0
        self._wake.set()

    async def run(self) -> None:
        """Fire what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                now_ms = self._clock.now_ms()
                if now_ms >= self._next_load_ms:
                    await self._load(now_ms)
                await self._start_due(group)
                self._target_ms = self._next_load_ms
                if self._heap:
                    self._target_ms = min(self._target_ms, self._heap[0].due_ms)
                await self._wait_until_target()

    async def _load(self, now_ms: int) -> None:
        """Read the alarms of the next horizon; those that are in the heap already come double and harmless."""
        until_ms = now_ms + self._horizon_ms
        after: Alarm | None = None
        # Alarms that are committed from now on come in by `moved`, so none falls between.
        known_before = self._known_until_ms
        self._known_until_ms = until_ms
        try:
            while True:
                page = await self._store.alarms(until_ms=until_ms, after=after, limit=_PAGE)
                for alarm in page:
                    if alarm.due_ms > known_before:
                        heapq.heappush(self._heap, alarm)
                if len(page) < _PAGE:
                    break
                after = page[-1]
        except StoreError as error:
            self._known_until_ms = known_before
            self._next_load_ms = now_ms + _RETRY_MS
            _log.warning("cannot read timers; trying again", error=str(error))
        else:
            self._next_load_ms = now_ms + self._horizon_ms // 2

    async def _start_due(self, group: asyncio.TaskGroup) -> None:
        now_ms = self._clock.now_ms()
        started: set[ExecutionKey] = set()
        while self._heap and self._heap[0].due_ms <= now_ms:
            alarm = heapq.heappop(self._heap)
            if alarm.key not in started:
                started.add(alarm.key)
                await self._at_once.acquire()
                group.create_task(self._fire_one(alarm))

    async def _fire_one(self, alarm: Alarm) -> None:
        try:
            await self._fire(alarm.key)
        except (StoreError, Refused) as error:
            _log.info("a timer could not be handled; trying again", error=str(error))
            later_ms = self._clock.now_ms() + _RETRY_MS
            heapq.heappush(self._heap, Alarm(later_ms, alarm.key))
            if later_ms < self._target_ms:
                self._wake.set()
        finally:
            self._at_once.release()

    async def _wait_until_target(self) -> None:
        if self._wake.is_set():
            return
        due = asyncio.ensure_future(self._clock.wait_until(self._target_ms))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((due, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            woken.cancel()
