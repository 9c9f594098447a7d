"""Invocations that run now, by execution and by worker.

In memory only: after a crash workers claim what they run.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from perdure_core.events import InvocationCompleted, InvocationReturned, Record
from perdure_core.state import State
from perdure_host.ports import ExecutionKey

_ENDS: Final = frozenset({InvocationCompleted, InvocationReturned})


class RunningInvocation(msgspec.Struct, eq=False):
    """One invocation in a worker; a new object whenever a worker gets or claims it.

    `worker_id` is None when a checkpoint came from a worker that did not claim it. `turn` is the
    number of the token that it was handed out or claimed with.
    """

    key: ExecutionKey
    invocation_id: str
    worker_id: str | None
    turn: int
    started_ms: int
    # When it was last known to run, and when the worker got or claimed it, in attended time.
    heartbeat_ms: int
    attached_ms: int

    def is_current_in(self, state: State) -> bool:
        """Return whether it is still the current invocation, as far as the state shows."""
        if state.invocation_id is None:
            return state.turn == self.turn
        return state.invocation_id == self.invocation_id


class RunningInvocations:
    """Invocations by execution, and by worker."""

    def __init__(self) -> None:
        self._by_key: dict[ExecutionKey, RunningInvocation] = {}
        self._by_worker: dict[str | None, dict[ExecutionKey, RunningInvocation]] = {}

    def __contains__(self, key: ExecutionKey) -> bool:
        """Return whether an invocation of the execution runs."""
        return key in self._by_key

    def __len__(self) -> int:
        """Return how many invocations run."""
        return len(self._by_key)

    def __iter__(self) -> Iterator[RunningInvocation]:
        """Iterate over a copy."""
        return iter(list(self._by_key.values()))

    @staticmethod
    def are_ended_by(record: Record) -> bool:
        """Return whether the record ends the invocation of its execution."""
        return not _ENDS.isdisjoint(map(type, record.events))

    def get(self, key: ExecutionKey) -> RunningInvocation | None:
        """Return the invocation of the execution."""
        return self._by_key.get(key)

    def add(self, running: RunningInvocation) -> None:
        """Add an invocation in place of a former one of the same execution."""
        self.remove(running.key)
        self._by_key[running.key] = running
        self._by_worker.setdefault(running.worker_id, {})[running.key] = running

    def restore(self, running: RunningInvocation) -> None:
        """Add again what was removed too early, unless another one runs meanwhile."""
        if running.key not in self._by_key:
            self.add(running)

    def remove(self, key: ExecutionKey) -> RunningInvocation | None:
        """Remove and return the execution's invocation, if it has one."""
        running = self._by_key.pop(key, None)
        if running is not None:
            of_worker = self._by_worker[running.worker_id]
            del of_worker[key]
            if not of_worker:
                del self._by_worker[running.worker_id]
        return running

    def of_worker(self, worker_id: str | None) -> list[RunningInvocation]:
        """Return the invocations in the worker."""
        return list(self._by_worker.get(worker_id, {}).values())
