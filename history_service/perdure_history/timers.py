"""Timers: fires the alarms of executions when they are due.

Every execution has at most one alarm: the earliest of all that it waits for, one row in the
database. Alarms due within the horizon are in memory; later ones cost only their row. Must stay
true: nothing fires before its time (`Clock.wait_until`), and nothing due is forgotten: an alarm in
memory may be stale, the state decides what is due.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_core.alarms import Alarms
from perdure_core.limits import BUCKETS
from perdure_core.refusals import Quarantined, Refused
from perdure_history.settings import HistorySettings
from perdure_host.errors import StoreError, is_outage
from perdure_host.ports import Alarm, Clock, ExecutionKey, Store
from perdure_host.telemetry import open_log

# Alarms in memory; beyond this many the horizon is shortened.
ALARMS_MAX: Final = 100_000
_PAGE: Final = 1_000
# Executions that are loaded at the same time because their alarms are due.
_LOADS_MAX: Final = 256
# Alarms of loaded executions that fire in a row before the event loop may run other tasks.
_IN_A_ROW_MAX: Final = 64
_RETRY_MS: Final = 1_000
# While the database is down thousands of timers fail every second; one log line per interval.
_LOG_INTERVAL_MS: Final = 10_000

_log = open_log("perdure.history")


class Timers:
    """The alarms of the near future, and the task that fires them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: HistorySettings,
        fire: Callable[[ExecutionKey], Awaitable[None]],
        *,
        fire_loaded: Callable[[ExecutionKey], bool],
        alarms_max: int = ALARMS_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._horizon_ms = settings.timer_horizon_ms
        self._fire = fire
        # Fires and returns True, or returns False when the execution must be loaded first.
        self._fire_loaded = fire_loaded
        self._alarms_max = alarms_max
        self._near = Alarms[ExecutionKey]()
        # Every alarm due before this is in memory, or firing.
        self._known_ms = 0
        self._next_load_ms = 0
        self._target_ms = 0
        self._resets = 0
        # True when some alarms within the horizon did not fit into memory.
        self._is_cut = False
        self._next_log_ms = 0
        self._wake = asyncio.Event()
        self._loads = asyncio.Semaphore(_LOADS_MAX)

    def __len__(self) -> int:
        """Return the number of alarms in memory."""
        return len(self._near)

    def moved(self, key: ExecutionKey, due_ms: int | None) -> None:
        """Record an execution's new alarm, which is durable now."""
        if due_ms is None or due_ms >= self._known_ms:
            self._near.move(key, None)
            return
        if len(self._near) >= self._alarms_max:
            # It is read again from the database, once there is room.
            self._shorten_horizon(due_ms)
            self._near.move(key, None)
            return
        self._note(key, due_ms)

    def reset(self) -> None:
        """Drop all alarms and read them again."""
        self._near.clear()
        self._known_ms = 0
        self._next_load_ms = 0
        self._resets += 1
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
                nearest_ms = self._near.next_due_ms()
                self._target_ms = self._next_load_ms
                if nearest_ms is not None:
                    self._target_ms = min(self._target_ms, nearest_ms)
                await self._wait_until_target()

    async def _load(self, now_ms: int) -> None:
        """Read the alarms up to the horizon that are not known yet."""
        resets = self._resets
        from_ms = self._known_ms
        until_ms = now_ms + self._horizon_ms
        # Alarms that are committed from now on arrive by `moved`, so none is missed in between.
        self._known_ms = max(from_ms, until_ms + 1)
        self._next_load_ms = now_ms + self._horizon_ms // 2
        self._is_cut = False
        try:
            await self._read(from_ms, until_ms)
        except StoreError as error:
            if resets == self._resets:
                self._known_ms = min(self._known_ms, from_ms)
                self._next_load_ms = now_ms + _RETRY_MS
            if not is_outage(error):
                _log.warning("cannot read timers; trying again", error=str(error))

    async def _read(self, from_ms: int, until_ms: int) -> None:
        resets = self._resets
        after: Alarm | None = Alarm(from_ms - 1, ExecutionKey(BUCKETS, ""))
        while after is not None:
            page = await self._store.alarms(until_ms=until_ms, after=after, limit=_PAGE)
            if resets != self._resets:
                return
            for alarm in page:
                # One that arrived by `moved` meanwhile is newer.
                if alarm.key not in self._near:
                    self._near.move(alarm.key, alarm.due_ms)
            after = page[-1] if len(page) == _PAGE else None
            if after is not None and len(self._near) >= self._alarms_max:
                self._shorten_horizon(after.due_ms)
                return

    def _shorten_horizon(self, known_ms: int) -> None:
        """Shorten the horizon to this time.

        Later alarms are read when half of the memory is free, or else when they are due.
        """
        self._known_ms = min(self._known_ms, known_ms)
        self._is_cut = True
        soon_ms = max(self._known_ms, self._clock.now_ms() + 1)
        if soon_ms < self._next_load_ms:
            self._next_load_ms = soon_ms
            self._wake.set()

    async def _start_due(self, group: asyncio.TaskGroup) -> None:
        now_ms = self._clock.now_ms()
        in_a_row = 0
        while (key := self._near.pop_due(now_ms)) is not None:
            if not self._is_fired(key):
                await self._loads.acquire()
                group.create_task(self._load_and_fire(key))
                continue
            in_a_row += 1
            if in_a_row % _IN_A_ROW_MAX == 0:
                await asyncio.sleep(0)
        if self._is_cut and len(self._near) <= self._alarms_max // 2:
            self._next_load_ms = min(self._next_load_ms, now_ms + 1)

    def _is_fired(self, key: ExecutionKey) -> bool:
        """Fire the alarm of a loaded execution. Should its commit fail, all alarms are reset."""
        try:
            return self._fire_loaded(key)
        except Quarantined:
            # Nothing of it fires until it can be read.
            return True
        except Refused as error:
            self._try_again(key, error)
            return True

    async def _load_and_fire(self, key: ExecutionKey) -> None:
        try:
            await self._fire(key)
        except (StoreError, Refused) as error:
            self._try_again(key, error)
        finally:
            self._loads.release()

    def _try_again(self, key: ExecutionKey, error: Exception) -> None:
        now_ms = self._clock.now_ms()
        if now_ms >= self._next_log_ms and not is_outage(error):
            self._next_log_ms = now_ms + _LOG_INTERVAL_MS
            _log.warning("timers cannot be handled; trying again", error=str(error))
        if key not in self._near:
            self._note(key, now_ms + _RETRY_MS)

    def _note(self, key: ExecutionKey, due_ms: int) -> None:
        self._near.move(key, due_ms)
        if due_ms < self._target_ms:
            self._wake.set()

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
