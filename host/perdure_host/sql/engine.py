"""Connections, threads and transactions: runs blocking database work for coroutines.

One thread with one connection writes, because commits follow one another anyway; a few threads
read, and two more look up what people ask for, so that however much they ask, no execution waits
for it. A connection that raised an error is discarded, so the next call begins with a new one: that
is how the server recovers after the database was away.

A database can also stop answering without breaking the connection. Every call has a deadline, after
which its connection is cut under the waiting thread; the error then means what any error at that
point means.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perdure_host.errors import StoreError
from perdure_host.sql.address import parse_address
from perdure_host.sql.dialects import dialect_of
from perdure_host.sql.failures import before_commit, during_commit, is_worth_another_try

READERS: Final = 4
LOOKUPS: Final = 2
DEADLINE_S: Final = 30.0
TRIES_MAX: Final = 5

Answer = TypeVar("Answer")
Work = Callable[[Connection], Answer]

# A driver raises OSError for an address that cannot be resolved, and sqlite3's own errors come
# through SQLAlchemy or straight from the cursors of the write path.
_FAILURES = (SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError)


class Database:
    """A database, by its URL; connects at the first call."""

    def __init__(self, url: str) -> None:
        address = parse_address(url)
        self.kind = address.url.get_backend_name()
        # Without credentials.
        self.place = address.place
        self._dialect = dialect_of(self.kind)
        self._writer = self._dialect.writer_engine(address.url)
        self._readers = self._dialect.reader_engine(address.url, READERS)
        self._lookups = self._dialect.reader_engine(address.url, LOOKUPS)
        self._writer_thread = ThreadPoolExecutor(1, "store-writer")
        self._reader_threads = ThreadPoolExecutor(READERS, "store-reader")
        self._lookup_threads = ThreadPoolExecutor(LOOKUPS, "store-lookup")

    async def write(self, work: Work[Answer], *, deadline_s: float | None = None) -> Answer:
        """Run `work` in one durable transaction."""
        deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        return await self._call(self._writer_thread, self._transact, work, deadline_s)

    async def read(self, work: Work[Answer]) -> Answer:
        """Run `work` on a read-only connection; each statement sees the latest commit."""
        run = partial(self._read, self._readers)
        return await self._call(self._reader_threads, run, work, DEADLINE_S)

    async def look_up(self, work: Work[Answer]) -> Answer:
        """Run `work` as `read` does, on connections that only people's questions wait for."""
        run = partial(self._read, self._lookups)
        return await self._call(self._lookup_threads, run, work, DEADLINE_S)

    async def close(self) -> None:
        """Wait for work in progress, then close every connection."""
        await asyncio.to_thread(self._close)

    def disconnect(self) -> None:
        """Close every connection that is not in use; the next call connects again."""
        self._readers.dispose()
        self._lookups.dispose()
        self._writer.dispose()

    def _close(self) -> None:
        self._writer_thread.shutdown()
        self._reader_threads.shutdown()
        self._lookup_threads.shutdown()
        self.disconnect()

    async def _call(
        self,
        threads: ThreadPoolExecutor,
        run: "Callable[[Work[Answer], _Call], Answer]",
        work: Work[Answer],
        deadline_s: float,
    ) -> Answer:
        call = _Call()
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(deadline_s, self._cut, call)
        try:
            return await loop.run_in_executor(threads, run, work, call)
        finally:
            alarm.cancel()

    def _cut(self, call: "_Call") -> None:
        if call.driver is not None:
            self._dialect.cut(call.driver)

    def _read(self, engine: Engine, work: Work[Answer], call: "_Call") -> Answer:
        with self._connected(engine, call) as connection:
            try:
                return work(connection)
            except _FAILURES as error:
                connection.invalidate()
                raise before_commit(error, self.place) from error

    def _transact(self, work: Work[Answer], call: "_Call") -> Answer:
        for _ in range(TRIES_MAX - 1):
            try:
                return self._transact_once(work, call)
            except StoreError as error:
                if not _may_try_again(error):
                    raise
        return self._transact_once(work, call)

    def _transact_once(self, work: Work[Answer], call: "_Call") -> Answer:
        with self._connected(self._writer, call) as connection:
            try:
                connection.begin()
                answer = work(connection)
            except StoreError:
                _roll_back(connection)
                raise
            except _FAILURES as error:
                connection.invalidate()
                raise before_commit(error, self.place) from error
            try:
                connection.commit()
            except _FAILURES as error:
                connection.invalidate()
                raise during_commit(error, self.place) from error
            return answer

    @contextlib.contextmanager
    def _connected(self, engine: Engine, call: "_Call") -> Generator[Connection]:
        try:
            connection = engine.connect()
        except _FAILURES as error:
            raise before_commit(error, self.place) from error
        with connection:
            call.driver = connection.connection.driver_connection
            try:
                yield connection
            finally:
                call.driver = None


class _Call:
    """A call in progress, and the driver's connection while a thread uses it."""

    driver: Any = None


def _roll_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except _FAILURES:
        # The database rolls back by itself when the connection is closed.
        connection.invalidate()


def _may_try_again(error: StoreError) -> bool:
    return isinstance(error.__cause__, Exception) and is_worth_another_try(error.__cause__)
