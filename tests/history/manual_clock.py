"""Clocks that a test advances, and `settle`, which runs the loop until all tasks wait."""

import asyncio
import heapq
from typing import Any, Final, cast

TURNS_MAX: Final = 20_000


class ManualClock:
    """The port `Clock`, as a number. Nothing ever sleeps."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return self._now_ms

    async def wait_until(self, due_ms: int) -> None:
        if due_ms <= self._now_ms:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiters, (due_ms, self._count, waiter))
        await waiter

    def next_due_ms(self) -> int | None:
        """Return when the next waiter wakes."""
        while self._waiters and self._waiters[0][2].done():
            heapq.heappop(self._waiters)
        return self._waiters[0][0] if self._waiters else None

    def advance(self, ms: int) -> None:
        """Advance the clock; wake the waiters that are due, in order."""
        self._now_ms += ms
        while (due_ms := self.next_due_ms()) is not None and due_ms <= self._now_ms:
            heapq.heappop(self._waiters)[2].set_result(None)


class ManualMachine:
    """The clocks of a machine: a monotonic one, and a wall clock that a test can set."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._ahead_ms = 0

    def set_wall_clock(self, ahead_ms: int) -> None:
        """Set the wall clock: by so much ahead of the right time, or behind it."""
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return self.clock.now_ms() + self._ahead_ms

    def monotonic_ms(self) -> int:
        return self.clock.now_ms()

    async def sleep_ms(self, ms: int) -> None:
        await self.clock.wait_until(self.clock.now_ms() + ms)


async def settle() -> None:
    """Return when every other task waits for something that only a test can bring."""
    ready = cast("Any", asyncio.get_running_loop())._ready
    await asyncio.sleep(0)
    turns = 0
    while ready:
        turns += 1
        if turns > TURNS_MAX:
            raise AssertionError("something goes round in circles")
        await asyncio.sleep(0)
