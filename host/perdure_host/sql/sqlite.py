"""SQLite dialect: durability, locks, and the statements of the write path.

WAL lets readers work while a commit is written, and with `synchronous=FULL` every commit is synced
before it is acknowledged. A write takes the lock when it begins (BEGIN IMMEDIATE), so that the
fence that it reads stays valid until it commits. Files are not mapped into memory: a failing disk
must cause an error, not a signal that ends the process.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.engine import URL

from perdure_host.ports import MOVED_ON, ExecutionKey, ExecutionName
from perdure_host.sql.batch import Batch, Row, Statement, StatementRefused, place_of
from perdure_host.sql.failures import VALUES_REFUSED, first_line

BUSY_TIMEOUT_MS: Final = 5_000
_WAL_RETRY_S: Final = 0.005
_CACHE_KIB: Final = 16_384
# A checkpoint copies the log into the database during a commit: rarely, and with two syncs.
_CHECKPOINT_PAGES: Final = 4_000

PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
    "PRAGMA temp_store = MEMORY",
)

_STATEMENTS: Final[Mapping[Statement, str]] = {
    Statement.NEW_REMAINS: """
        INSERT INTO deleted_executions (bucket, execution_id) VALUES (?, ?)
        ON CONFLICT (bucket, execution_id) DO NOTHING
    """,
    Statement.REPLACED_EXECUTIONS: "DELETE FROM executions WHERE bucket = ? AND execution_id = ?",
    Statement.NEW_EXECUTIONS: """
        INSERT INTO executions (
            bucket, execution_id, namespace, function, name, status, started_ms, input_digest,
            sequence, event_count, waiting_for, ended_ms, expires_ms
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """,
    Statement.MOVED_EXECUTIONS: """
        UPDATE executions
        SET status = ?3, sequence = ?4, event_count = ?5, waiting_for = ?6,
            ended_ms = ?7, expires_ms = ?8
        WHERE bucket = ?1 AND execution_id = ?2 AND sequence = ?9
    """,
    Statement.NEW_RECORDS: """
        INSERT INTO events (
            bucket, execution_id, sequence, first_event_id, event_count, body
        ) VALUES (?, ?, ?, ?, ?, ?)
    """,
    Statement.NEW_PAYLOADS: """
        INSERT INTO payloads (bucket, execution_id, digest, body) VALUES (?, ?, ?, ?)
        ON CONFLICT (bucket, execution_id, digest) DO NOTHING
    """,
    Statement.SET_ALARMS: """
        INSERT INTO timers (bucket, execution_id, due_ms) VALUES (?, ?, ?)
        ON CONFLICT (bucket, execution_id) DO UPDATE SET due_ms = excluded.due_ms
    """,
    Statement.CLEARED_ALARMS: "DELETE FROM timers WHERE bucket = ? AND execution_id = ?",
    Statement.NEW_OUTBOX: "INSERT INTO outbox (bucket, outbox_id, body) VALUES (?, ?, ?)",
    Statement.DONE_OUTBOX: "DELETE FROM outbox WHERE bucket = ? AND outbox_id = ?",
    Statement.NEW_STATUS_EVENTS: """
        INSERT INTO status_events (
            bucket, execution_id, event_id, at_ms, namespace, function, name, status, started_ms,
            ended_ms
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """,
    Statement.DONE_STATUS_EVENTS: """
        DELETE FROM status_events WHERE bucket = ? AND execution_id = ? AND event_id = ?
    """,
}

_LIVE: Final = "SELECT 1 FROM nodes WHERE incarnation = ? AND live"

_ROW: Final = """
    SELECT
        bucket, execution_id, namespace, function, name, status, started_ms, input_digest,
        sequence, event_count, waiting_for, ended_ms, expires_ms
    FROM executions
"""
_FIND: Final = f"{_ROW} WHERE bucket = ? AND namespace = ? AND function = ? AND name = ?"
_ROW_OF: Final = f"{_ROW} WHERE bucket = ? AND execution_id = ?"


def writer_engine(url: URL) -> Engine:
    """Return an engine whose transactions hold the write lock from their beginning."""
    engine = _engine(url, connections=1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def reader_engine(url: URL, connections: int) -> Engine:
    """Return an engine whose connections cannot write; each statement is its own transaction."""
    engine = _engine(url, connections=connections)
    event.listen(engine, "connect", _prepare_to_read)
    return engine


def sorts_each_part() -> bool:
    """Return False: the parts of a UNION ALL are read in the order of the whole, and have none."""
    return False


def insert_into(table: Table) -> Insert:
    """Return an INSERT that supports ON CONFLICT."""
    return Insert(table)


def cut(driver: sqlite3.Connection) -> None:
    """Make the thread that waits on this connection fail at once."""
    driver.interrupt()


def live(connection: Connection, incarnation: int) -> bool:
    """Return whether the incarnation may write. It stays so until the transaction ends."""
    return connection.exec_driver_sql(_LIVE, (incarnation,)).first() is not None


def write(
    connection: Connection,
    incarnation: int,
    batch: Batch,
    *,
    pipelined: bool = True,  # noqa: ARG001 - there is no network here
) -> bool:
    """Write the batch, or return False because the incarnation is fenced.

    Raises StatementRefused.
    """
    driver: Any = connection.connection.driver_connection
    if driver.execute(_LIVE, (incarnation,)).fetchone() is None:
        return False
    for statement, rows in batch.statements():
        _run(driver, statement, rows)
    return True


def find(connection: Connection, names: Sequence[ExecutionName]) -> list[Row]:
    """Return all columns of the executions that have these names."""
    return _each(connection, _FIND, map(place_of, names))


def rows_of(connection: Connection, keys: Sequence[ExecutionKey]) -> list[Row]:
    """Return all columns of those of these executions that exist, in any order."""
    return _each(connection, _ROW_OF, ((key.bucket, key.execution_id) for key in keys))


def _each(connection: Connection, statement: str, places: Iterable[Row]) -> list[Row]:
    """Return the row at each place. There is no network here: each is a statement of its own."""
    driver: Any = connection.connection.driver_connection
    found = (driver.execute(statement, place).fetchone() for place in places)
    return [row for row in found if row is not None]


def _run(driver: sqlite3.Connection, statement: Statement, rows: Sequence[Row]) -> None:
    try:
        cursor = driver.executemany(_STATEMENTS[statement], rows)
    except VALUES_REFUSED as error:
        raise StatementRefused(statement, first_line(error)) from error
    if statement is Statement.MOVED_EXECUTIONS and cursor.rowcount != len(rows):
        raise StatementRefused(statement, MOVED_ON)


def _engine(url: URL, *, connections: int) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,
        # Each connection is used by one thread at a time, though not always by the same.
        connect_args={"check_same_thread": False, "cached_statements": 64},
    )
    event.listen(engine, "do_connect", _make_private)
    return engine


def _make_private(_dialect: object, _record: object, arguments: Sequence[Any], _named: Any) -> None:
    """Make the file for its owner only, if there is none. SQLite gives its side files its mode."""
    with contextlib.suppress(OSError):
        os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare(driver: sqlite3.Connection, _record: object) -> None:
    """Make every commit durable. `isolation_level` keeps the driver from starting transactions."""
    driver.isolation_level = None
    for pragma in PRAGMAS:
        driver.execute(pragma)
    _switch_to_wal(driver)


def _switch_to_wal(driver: sqlite3.Connection) -> None:
    """Retry the switch to WAL while other connections open the same new file.

    SQLite does not wait here: the switch upgrades a read lock to a write lock, which would deadlock
    if two do so at once; so it fails at once, whatever the busy timeout.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1_000
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


def _prepare_to_read(driver: sqlite3.Connection, record: object) -> None:
    _prepare(driver, record)
    driver.execute("PRAGMA query_only = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
