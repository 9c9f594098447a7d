"""The alarms that are near, by execution, earliest first.

An alarm that moves leaves its old entry in the heap; such entries are dropped when they surface, or
all together once they outnumber the true ones. So alarms that move often (heartbeats) cost no more
memory than those that stay.
"""

import heapq
from typing import Final

from perdure_host.ports import Alarm, ExecutionKey

_STALE_ENTRIES_MAX: Final = 1_000


class NearAlarms:
    """One due time for each execution."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[ExecutionKey, int] = {}
        self._heap: list[Alarm] = []

    def __len__(self) -> int:
        """Return the number of executions with an alarm."""
        return len(self._due)

    def __contains__(self, key: ExecutionKey) -> bool:
        """Tell whether the execution has an alarm here."""
        return key in self._due

    @property
    def entries(self) -> int:
        """Return the size of the heap, stale entries included."""
        return len(self._heap)

    def move(self, key: ExecutionKey, due_ms: int | None) -> None:
        """Set the execution's alarm, or clear it with None."""
        if due_ms is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due_ms:
            self._due[key] = due_ms
            heapq.heappush(self._heap, Alarm(due_ms, key))
        if len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_MAX:
            self._heap = [Alarm(due_ms, key) for key, due_ms in self._due.items()]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self._due.clear()
        self._heap.clear()

    def next_due_ms(self) -> int | None:
        """Return the earliest due time."""
        heap = self._heap
        while heap and self._due.get(heap[0].key) != heap[0].due_ms:
            heapq.heappop(heap)
        return heap[0].due_ms if heap else None

    def pop_due(self, now_ms: int) -> ExecutionKey | None:
        """Take out the execution whose alarm has been due longest."""
        due_ms = self.next_due_ms()
        if due_ms is None or due_ms > now_ms:
            return None
        key = heapq.heappop(self._heap).key
        del self._due[key]
        return key
