"""Waking those who wait for an execution to move: followers of a history, callers that wait for an end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from perdure_host.ports import ExecutionKey


class Notices:
    """Events by execution; an execution that nobody waits for costs nothing."""

    def __init__(self) -> None:
        self._waiting: dict[ExecutionKey, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, key: ExecutionKey) -> Iterator[asyncio.Event]:
        """Give an event that is set at each committed change; whoever waits clears it before looking."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._waiting[key]
            watchers.discard(event)
            if not watchers:
                del self._waiting[key]

    def moved(self, key: ExecutionKey) -> None:
        """Wake everybody who watches the execution."""
        for event in self._waiting.get(key, ()):
            event.set()

    def all_moved(self) -> None:
        """Wake everybody: after a reload nothing is certain."""
        for events in self._waiting.values():
            for event in events:
                event.set()
