"""Priority queue of due times by key, for an execution's operations and for executions.

An alarm that moves leaves its old entry in the heap; such entries are dropped when they surface, or
all together once they outnumber the true ones. So alarms that move often (heartbeats) cost no more
memory than those that stay.
"""

import heapq
from typing import Any, Final, Generic, Protocol, TypeVar

STALE_ENTRIES_MAX: Final = 64


class _Ordered(Protocol):
    def __hash__(self) -> int: ...
    def __lt__(self, other: Any, /) -> bool: ...


Key = TypeVar("Key", bound=_Ordered)


class Alarms(Generic[Key]):
    """At most one due time per key; keys that are due at the same time come in their own order."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        """Return the number of alarms."""
        return len(self._due)

    def __contains__(self, key: Key) -> bool:
        """Return whether the key has an alarm."""
        return key in self._due

    @property
    def entries(self) -> int:
        """Return the size of the heap, stale entries included."""
        return len(self._heap)

    def move(self, key: Key, due_ms: int | None) -> None:
        """Set the alarm, or clear it with None."""
        if due_ms is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due_ms:
            self._due[key] = due_ms
            heapq.heappush(self._heap, (due_ms, key))
        if len(self._heap) > 2 * len(self._due) + STALE_ENTRIES_MAX:
            self._heap = [(due_ms, key) for key, due_ms in self._due.items()]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Remove every alarm."""
        self._due.clear()
        self._heap.clear()

    def next_due_ms(self) -> int | None:
        """Return the earliest due time."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_ms: int) -> list[Key]:
        """Return what is due, in order of due time and then of key. Changes nothing.

        Walks only the top of the heap, where everything due lies: an entry is due no earlier than
        the one above it.
        """
        heap = self._heap
        ready: set[tuple[int, Key]] = set()
        positions = [0]
        while positions:
            position = positions.pop()
            if position >= len(heap) or heap[position][0] > now_ms:
                continue
            due_ms, key = heap[position]
            if self._due.get(key) == due_ms:
                ready.add((due_ms, key))
            positions += (2 * position + 1, 2 * position + 2)
        return [key for _, key in sorted(ready)]

    def pop_due(self, now_ms: int) -> Key | None:
        """Remove and return the key whose alarm has been due longest, if any is due."""
        due_ms = self.next_due_ms()
        if due_ms is None or due_ms > now_ms:
            return None
        _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key

    def snapshot(self) -> dict[Key, int]:
        """Return a copy, for comparisons."""
        return dict(self._due)
