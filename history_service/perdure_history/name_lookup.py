"""Lookup of executions by name: one read at a time, shared by all names that wait for it.

Must stay true: every answer was read after its name was requested.
"""

import asyncio
from typing import Final

from perdure_host.ports import ExecutionName, ExecutionRow, Store

# Names in one statement.
NAMES_MAX: Final = 1_000


class NameLookup:
    """Reads executions by name, one statement at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._requests: list[tuple[ExecutionName, asyncio.Future[ExecutionRow | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def find(self, name: ExecutionName) -> ExecutionRow | None:
        """Return the execution of this name. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ExecutionRow | None] = loop.create_future()
        self._requests.append((name, answer))
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await answer

    async def _read(self) -> None:
        try:
            while self._requests:
                requests, self._requests = self._requests[:NAMES_MAX], self._requests[NAMES_MAX:]
                try:
                    found = await self._store.find_many([name for name, _ in requests])
                except Exception as error:  # noqa: BLE001 - raised in each caller
                    for _, answer in requests:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for name, answer in requests:
                        if not answer.done():
                            answer.set_result(found.get(name))
        finally:
            self._reading = None
