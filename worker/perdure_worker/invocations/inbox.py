"""From handlers' threads to the loop: many items, few wake-ups.

Waking the loop costs a system call and a change of threads, so only the first item after a drain
does it. Order is kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Items that threads have put and the loop has not taken yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
        self._loop = loop
        self._drain = drain
        self._items: deque[Item] = deque()
        self._woken = False
        self._closed = False

    def put(self, item: Item) -> bool:
        """Put `item` from any thread; return False once the inbox is closed."""
        self._items.append(item)
        # After the append: either `close` finds the item, or this finds the inbox closed.
        if self._closed:
            return False
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                # The loop is closed: the process is ending around this thread.
                return False
        return True

    def take(self) -> list[Item]:
        """Return everything, on the loop; the inbox is then empty."""
        # Before taking: what comes meanwhile wakes the loop once more, at worst for nothing.
        self._woken = False
        items: list[Item] = []
        while self._items:
            items.append(self._items.popleft())
        return items

    def close(self) -> list[Item]:
        """Refuse whatever comes from now on, and take what is left."""
        self._closed = True
        return self.take()
