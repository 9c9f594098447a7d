"""Interface of a database dialect, implemented by the modules `sqlite` and `postgresql`."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL

from perdure_host.ports import ExecutionKey, ExecutionName
from perdure_host.sql import postgresql, sqlite
from perdure_host.sql.batch import Batch, Row


class Dialect(Protocol):
    """A module for one kind of database."""

    def writer_engine(self, url: URL) -> Engine:
        """Return an engine for the one thread that writes."""
        ...

    def reader_engine(self, url: URL, connections: int) -> Engine:
        """Return an engine for reading; each statement is its own transaction."""
        ...

    def sorts_each_part(self) -> bool:
        """Return whether the parts of a UNION ALL must be sorted to be merged in order."""
        ...

    def insert_into(self, table: Table) -> Any:
        """Return an INSERT that supports ON CONFLICT."""
        ...

    def cut(self, driver: Any) -> None:
        """Make the thread that waits on this connection fail at once. Called by another thread."""
        ...

    def live(self, connection: Connection, incarnation: int) -> bool:
        """Return whether the incarnation may write. It stays so until the transaction ends."""
        ...

    def write(
        self, connection: Connection, incarnation: int, batch: Batch, *, pipelined: bool = True
    ) -> bool:
        """Write the batch, or return False because the incarnation is fenced.

        Raises StatementRefused for what contradicts the rows that are stored.
        """
        ...

    def find(self, connection: Connection, names: Sequence[ExecutionName]) -> list[Row]:
        """Return all columns of the executions that have these names."""
        ...

    def rows_of(self, connection: Connection, keys: Sequence[ExecutionKey]) -> list[Row]:
        """Return all columns of those of these executions that exist, in any order."""
        ...


def dialect_of(kind: str) -> Dialect:
    """Return the module for this kind of database."""
    return sqlite if kind == "sqlite" else postgresql
