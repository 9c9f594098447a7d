"""Waking those who wait for an execution to move: followers of a history, waiters for an end."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from perdure_host.ports import ExecutionKey


class ChangeNotifier:
    """Events by execution; an execution that nobody waits for costs nothing."""

    def __init__(self) -> None:
        # Dictionaries, for the order in which they are woken.
        self._waiting: dict[ExecutionKey, dict[asyncio.Event, None]] = {}

    @contextmanager
    def watch(self, key: ExecutionKey) -> Generator[asyncio.Event]:
        """Give an event that is set at each committed change; clear it before looking."""
        event = asyncio.Event()
        self._waiting.setdefault(key, {})[event] = None
        try:
            yield event
        finally:
            watchers = self._waiting[key]
            del watchers[event]
            if not watchers:
                del self._waiting[key]

    def __len__(self) -> int:
        """Return how many executions are waited for."""
        return len(self._waiting)

    def notify(self, key: ExecutionKey) -> None:
        """Wake everybody who watches the execution."""
        for event in self._waiting.get(key, ()):
            event.set()

    def notify_all(self) -> None:
        """Wake everybody: after a reload nothing is certain."""
        for events in self._waiting.values():
            for event in events:
                event.set()
