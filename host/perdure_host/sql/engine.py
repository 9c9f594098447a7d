"""Connections, threads and transactions: runs blocking database work for coroutines.

One thread with one connection writes, because commits follow one another anyway; a few threads
read, and two more look up what people ask for, so that however much they ask, no execution waits
for it. On PostgreSQL one more, of its own, renews the lease and asks whether the server is there: a
long commit must not make it look absent. A connection that raised an error is discarded, so the
next call begins with a new one: that is how the server recovers after the database was away.

A database can also stop answering without breaking the connection. Every call has a deadline, after
which its connection is cut under the waiting thread; the error then means what any error at that
point means. A connection that was found broken before anything was committed over it is replaced
once, unseen: so a restart of the database between two commits costs nothing.
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

from perdure_host.errors import DatabaseAway, StoreError, StoreUnavailable
from perdure_host.sql.address import parse_address
from perdure_host.sql.dialects import dialect_of
from perdure_host.sql.failures import (
    before_commit,
    during_commit,
    holds_no_text,
    is_worth_another_try,
    while_connecting,
)

READERS: Final = 4
LOOKUPS: Final = 2
DEADLINE_S: Final = 30.0
TRIES_MAX: Final = 5
_LATE: Final = "did not answer in time"
_WAS_USED: Final = "perdure_was_used"

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
        # A second writer of a file would only wait for the first.
        self._keeper, self._keeper_thread = self._writer, self._writer_thread
        if self.kind != "sqlite":
            self._keeper = self._dialect.writer_engine(address.url)
            self._keeper_thread = ThreadPoolExecutor(1, "store-keeper")
        self._calls: set[_Call] = set()

    async def write(self, work: Work[Answer], *, deadline_s: float | None = None) -> Answer:
        """Run `work` in one durable transaction."""
        deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        run = partial(self._transact, self._writer)
        return await self._call(self._writer_thread, run, work, deadline_s)

    async def ping(self, *, deadline_s: float) -> None:
        """Return if the database answers."""
        if self.kind == "sqlite":
            await self.read(_ask)
        else:
            await self.keep(_ask, deadline_s=deadline_s)

    async def keep(self, work: Work[Answer], *, deadline_s: float) -> Answer:
        """Run short `work` in a durable transaction that no long one delays."""
        run = partial(self._transact, self._keeper)
        return await self._call(self._keeper_thread, run, work, deadline_s)

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

    def cut(self) -> None:
        """Make every call in progress fail at once, and close every connection."""
        for call in list(self._calls):
            self._cut(call, "was cut off")
        self.disconnect()

    def disconnect(self) -> None:
        """Close every connection that is not in use; the next call connects again."""
        for engine in (self._readers, self._lookups, self._writer, self._keeper):
            engine.dispose()

    def _close(self) -> None:
        self._writer_thread.shutdown()
        self._keeper_thread.shutdown()
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
        alarm = loop.call_later(deadline_s, self._cut, call, _LATE)
        try:
            return await loop.run_in_executor(threads, self._run, run, work, call)
        finally:
            alarm.cancel()

    def _run(
        self, run: "Callable[[Work[Answer], _Call], Answer]", work: Work[Answer], call: "_Call"
    ) -> Answer:
        # In the thread: it may go on when the caller has been cancelled, and must be cut then too.
        self._calls.add(call)
        try:
            return run(work, call)
        finally:
            self._calls.discard(call)

    def _cut(self, call: "_Call", reason: str) -> None:
        if call.cut_reason is None:
            call.cut_reason, call.is_late = reason, reason == _LATE
        if call.driver is not None:
            self._dialect.cut(call.driver)

    def _read(self, engine: Engine, work: Work[Answer], call: "_Call") -> Answer:
        try:
            return self._read_once(engine, work, call)
        except DatabaseAway:
            if not call.is_stale:
                raise
        return self._read_once(engine, work, call)

    def _read_once(self, engine: Engine, work: Work[Answer], call: "_Call") -> Answer:
        with self._connected(engine, call) as connection:
            try:
                try:
                    return work(connection)
                except _FAILURES as error:
                    if not holds_no_text(error):
                        raise
                with _undecoded(call.driver):
                    return work(connection)
            except _FAILURES as error:
                connection.invalidate()
                raise before_commit(error, self.place) from error

    def _transact(self, engine: Engine, work: Work[Answer], call: "_Call") -> Answer:
        for _ in range(TRIES_MAX - 1):
            try:
                return self._transact_once(engine, work, call)
            except StoreError as error:
                if not (_may_try_again(error) or call.is_stale):
                    raise
        return self._transact_once(engine, work, call)

    def _transact_once(self, engine: Engine, work: Work[Answer], call: "_Call") -> Answer:
        with self._connected(engine, call) as connection:
            try:
                connection.begin()
                answer = work(connection)
            except _FAILURES as error:
                connection.invalidate()
                raise before_commit(error, self.place) from error
            except Exception:
                # A refusal, or a bug: either way no transaction may stay open.
                _roll_back(connection)
                raise
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
            call.is_stale = False
            raise while_connecting(error, self.place) from error
        with connection:
            was_used = bool(connection.info.setdefault(_WAS_USED, False))
            connection.info[_WAS_USED] = True
            call.driver = connection.connection.driver_connection
            try:
                call.require_uncut(self.place)
                yield connection
            except DatabaseAway:
                # The others of its age are broken too.
                engine.dispose()
                call.require_uncut(self.place)
                # One that had just been opened broke: then trying again is of no use.
                call.is_stale = was_used
                raise
            except StoreError:
                call.is_stale = False
                raise
            finally:
                call.driver = None


@contextlib.contextmanager
def _undecoded(driver: sqlite3.Connection) -> Generator[None]:
    """Return bytes that are no text as they are, so that the rows beside them can be read."""
    driver.text_factory = _decode_anything
    try:
        yield
    finally:
        driver.text_factory = str


def _decode_anything(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class _Call:
    """A call in progress, and the driver's connection while a thread uses it."""

    driver: Any = None
    # Why its connection was cut, if it was; `is_late` if its deadline was over.
    cut_reason: str | None = None
    is_late = False
    # It failed, before anything was committed, on a connection that may have broken long before.
    is_stale = False

    def require_uncut(self, place: str) -> None:
        """Raise StoreUnavailable if the connection was cut.

        A database that is late is not away: others may be served, and the lease tells in the end.
        """
        if self.cut_reason is not None:
            self.is_stale = False
            kind = StoreUnavailable if self.is_late else DatabaseAway
            raise kind(f"the database {place} {self.cut_reason}")


def _ask(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1")


def _roll_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except _FAILURES:
        # The database rolls back by itself when the connection is closed.
        connection.invalidate()


def _may_try_again(error: StoreError) -> bool:
    return isinstance(error.__cause__, Exception) and is_worth_another_try(error.__cause__)
