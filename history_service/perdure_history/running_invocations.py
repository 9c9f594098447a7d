"""Which invocations run now, and where.

Kept in memory only: after a crash workers claim what they run.
"""

from collections.abc import Iterator

import msgspec

from perdure_core.state import State
from perdure_host.ports import ExecutionKey


class RunningInvocation(msgspec.Struct, eq=False):
    """One invocation in a worker; a new object for each attachment of the worker.

    `worker_id` is None when a checkpoint came from a worker that did not claim it. `turn` is the
    one that it was handed out or adopted with.
    """

    key: ExecutionKey
    invocation_id: str
    worker_id: str | None
    turn: int
    started_ms: int
    # When it last showed a sign of life, and since when it belongs to this attachment.
    heartbeat_ms: int
    attached_ms: int

    def is_current_in(self, state: State) -> bool:
        """Tell whether it is this invocation's turn still, of all that the state knows."""
        if state.invocation_id is None:
            return state.turn == self.turn
        return state.invocation_id == self.invocation_id


class RunningInvocations:
    """Invocations by execution, and by worker."""

    def __init__(self) -> None:
        self._by_key: dict[ExecutionKey, RunningInvocation] = {}
        self._by_worker: dict[str | None, dict[ExecutionKey, RunningInvocation]] = {}

    def __contains__(self, key: ExecutionKey) -> bool:
        """Tell whether the execution runs."""
        return key in self._by_key

    def __len__(self) -> int:
        """Return how many invocations run."""
        return len(self._by_key)

    def __iter__(self) -> Iterator[RunningInvocation]:
        """Iterate over a copy."""
        return iter(list(self._by_key.values()))

    def get(self, key: ExecutionKey) -> RunningInvocation | None:
        """Return the invocation of the execution."""
        return self._by_key.get(key)

    def add(self, running: RunningInvocation) -> None:
        """Put an invocation in; a former one of the same execution goes out."""
        self.remove(running.key)
        self._by_key[running.key] = running
        self._by_worker.setdefault(running.worker_id, {})[running.key] = running

    def restore(self, running: RunningInvocation) -> None:
        """Put back what was taken out too early, unless something else runs meanwhile."""
        if running.key not in self._by_key:
            self.add(running)

    def remove(self, key: ExecutionKey) -> RunningInvocation | None:
        """Take the execution's invocation out."""
        running = self._by_key.pop(key, None)
        if running is not None:
            of_worker = self._by_worker[running.worker_id]
            del of_worker[key]
            if not of_worker:
                del self._by_worker[running.worker_id]
        return running

    def of_worker(self, worker_id: str | None) -> list[RunningInvocation]:
        """Return what runs in the worker."""
        return list(self._by_worker.get(worker_id, {}).values())
