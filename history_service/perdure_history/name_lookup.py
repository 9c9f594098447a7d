"""Looking names up: one that comes alone is read at once, those that come meanwhile share a read.

Must stay true: what is answered was read after it was asked for.
"""

import asyncio
from typing import Final

from perdure_host.ports import ExecutionName, ExecutionRow, Store

# What one statement asks for at most.
NAMES_MAX: Final = 1_000


class NameLookup:
    """Reads executions by name, one statement at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: list[tuple[ExecutionName, asyncio.Future[ExecutionRow | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def find(self, name: ExecutionName) -> ExecutionRow | None:
        """Return the execution of this name. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ExecutionRow | None] = loop.create_future()
        self._asked.append((name, answer))
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await answer

    async def _read(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked[:NAMES_MAX], self._asked[NAMES_MAX:]
                try:
                    found = await self._store.find_many([name for name, _ in asked])
                except Exception as error:  # noqa: BLE001 - whatever it was, the askers are told
                    for _, answer in asked:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for name, answer in asked:
                        if not answer.done():
                            answer.set_result(found.get(name))
        finally:
            self._reading = None
