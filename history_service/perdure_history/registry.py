"""Registry of the functions that workers have registered, or a client on their behalf.

A function stays registered while no worker serves it: its executions wait in the queue.
"""

from collections.abc import Callable, Sequence

from perdure_core.refusals import UnknownFunction
from perdure_host.ports import FunctionRow, Store


class FunctionRegistry:
    """All functions of the database, in memory; there are as many as operators deploy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._functions: dict[tuple[str, str], FunctionRow] = {}
        # Called with each function whose row was written.
        self.on_registered: Callable[[str, str], None] = lambda _namespace, _name: None

    async def load(self) -> None:
        """Read every function. Raises StoreError."""
        rows = await self._store.functions()
        self._functions = {(row.namespace, row.name): row for row in rows}

    async def register(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        """Register functions; writes only new and changed ones. Raises StoreError."""
        fresh = [row for row in functions if self._functions.get((row.namespace, row.name)) != row]
        if fresh:
            await self._store.put_functions(incarnation, fresh)
            for row in fresh:
                self.on_registered(row.namespace, row.name)
            self._functions.update({(row.namespace, row.name): row for row in fresh})

    def get(self, namespace: str, name: str) -> FunctionRow:
        """Return the function. Raises UnknownFunction."""
        found = self._functions.get((namespace, name))
        if found is None:
            raise UnknownFunction(
                f"no function {name!r}: no worker has registered it yet (namespace {namespace!r})."
                " Start a worker, register it with `perdure functions register`, or start with"
                " accept_unknown."
            )
        return found

    def exists(self, namespace: str, name: str) -> bool:
        """Return whether it was ever registered."""
        return (namespace, name) in self._functions

    def is_plain(self, namespace: str, name: str) -> bool:
        """Return whether it is not durable, according to the worker that registered it last."""
        found = self._functions.get((namespace, name))
        return found is not None and not found.durable

    def all(self) -> list[FunctionRow]:
        """Return every function, by namespace and name."""
        return [self._functions[key] for key in sorted(self._functions)]
