"""Notifier of committed changes, for followers of a history and callers that wait for an end."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from perdure_host.ports import ExecutionKey


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
