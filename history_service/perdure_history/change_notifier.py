"""Notifier of committed changes, for followers of a history and callers that wait for an end.

Must stay true: a caller that waits costs no task and no turn of the loop until it is woken.
"""

import asyncio
import heapq
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import Final

from perdure_host.ports import Clock, ExecutionKey

# Deadlines of those who have left are dropped once they are more than half, and more than this.
_LEFT_MIN: Final = 1_000


class ChangeNotifier:
    """asyncio events by execution; an execution without watchers costs nothing."""

    def __init__(self) -> None:
        # Dictionaries, to wake watchers in a fixed order.
        self._watchers: dict[ExecutionKey, dict[asyncio.Event, None]] = {}

    @contextmanager
    def watch(self, key: ExecutionKey) -> Generator[asyncio.Event]:
        """Yield an event that is set at each committed change; clear it before reading."""
        event = asyncio.Event()
        self._watchers.setdefault(key, {})[event] = None
        try:
            yield event
        finally:
            watchers = self._watchers[key]
            del watchers[event]
            if not watchers:
                del self._watchers[key]

    def __len__(self) -> int:
        """Return how many executions are watched."""
        return len(self._watchers)

    def notify(self, key: ExecutionKey) -> None:
        """Wake every watcher of the execution."""
        for event in self._watchers.get(key, ()):
            event.set()

    def notify_all(self) -> None:
        """Wake every watcher: after a reload nothing is certain."""
        for events in self._watchers.values():
            for event in events:
                event.set()


class _Deadline:
    """When an event is set, unless its caller has left before."""

    __slots__ = ("event",)

    def __init__(self, event: asyncio.Event) -> None:
        self.event: asyncio.Event | None = event


class Deadlines:
    """Sets events at their times, with one task for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, _Deadline]] = []
        self._numbers = count()
        self._left = 0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def at(self, due_ms: int, event: asyncio.Event) -> Generator[None]:
        """Set the event at this time, unless the body has ended before."""
        deadline = _Deadline(event)
        is_first = not self._heap or due_ms < self._heap[0][0]
        heapq.heappush(self._heap, (due_ms, next(self._numbers), deadline))
        if is_first:
            if self._task is not None:
                self._task.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            if deadline.event is not None:
                deadline.event = None
                self._left += 1
                self._drop_left()

    def _drop_left(self) -> None:
        if self._left == len(self._heap) and self._task is not None:
            # There is nothing to wake for.
            self._task.cancel()
            self._task = None
        elif self._left <= max(_LEFT_MIN, len(self._heap) // 2):
            return
        self._heap = [each for each in self._heap if each[2].event is not None]
        heapq.heapify(self._heap)
        self._left = 0

    async def _run(self) -> None:
        while self._heap:
            await self._clock.wait_until(self._heap[0][0])
            now_ms = self._clock.now_ms()
            while self._heap and self._heap[0][0] <= now_ms:
                deadline = heapq.heappop(self._heap)[2]
                if deadline.event is None:
                    self._left -= 1
                    continue
                deadline.event.set()
                deadline.event = None
