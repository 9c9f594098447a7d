"""PostgreSQL dialect: durability, timeouts, and the statements of the write path.

A commit is sent as columns: each statement takes whole arrays, so its text never varies, it is
prepared once, and hundreds of rows cost what one costs. All statements of a commit are sent in one
pipeline; COMMIT follows once the fence is known to hold. Only statements that PostgreSQL-compatible
distributed databases support are used.

A connection may lead to a pooler such as PgBouncer, which hands each transaction to whichever
session is free. Then nothing may be left in a session: statements are not prepared, and what must
hold is set in each transaction that writes.
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString

import psycopg
import sqlalchemy
from psycopg.types.numeric import Int8BinaryDumper
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from perdure_host.ports import MOVED_ON, ExecutionKey, ExecutionName
from perdure_host.sql.batch import Batch, Row, Statement, StatementRefused, place_of
from perdure_host.sql.failures import VALUES_REFUSED, first_line

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 10_000
# A node that hangs between two statements must not block a takeover for long.
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000

_CONNECT_ARGS: Final[Mapping[str, Any]] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
    "application_name": "perdure",
}

# In the info of a connection: it leads to a pooler.
_POOLED: Final = "perdure_pooled"

_SETTINGS: Final = (
    "synchronous_commit = on",
    f"statement_timeout = {STATEMENT_TIMEOUT_MS}",
    f"idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}",
    # Every statement has its index. A plan that was made while a table was small, or on a guess
    # that a LIMIT is soon reached, must not read the whole of a large one.
    "enable_seqscan = off",
)

_STATEMENTS: Final[Mapping[Statement, LiteralString]] = {
    Statement.NEW_REMAINS: """
        INSERT INTO deleted_executions (bucket, execution_id)
        SELECT * FROM unnest(%b::bigint[], %b::text[])
        ON CONFLICT (bucket, execution_id) DO NOTHING
    """,
    Statement.REPLACED_EXECUTIONS: """
        DELETE FROM executions AS e
        USING unnest(%b::bigint[], %b::text[]) AS replaced (bucket, execution_id)
        WHERE e.bucket = replaced.bucket AND e.execution_id = replaced.execution_id
    """,
    Statement.NEW_EXECUTIONS: """
        INSERT INTO executions (
            bucket, execution_id, namespace, function, name, status, started_ms, input_digest,
            sequence, event_count, waiting_for, ended_ms, expires_ms
        )
        SELECT * FROM unnest(
            %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::bigint[], %b::bytea[], %b::bigint[], %b::bigint[], %b::text[],
            %b::bigint[], %b::bigint[]
        )
    """,
    Statement.MOVED_EXECUTIONS: """
        UPDATE executions AS e
        SET status = moved.status, sequence = moved.sequence, event_count = moved.event_count,
            waiting_for = moved.waiting_for, ended_ms = moved.ended_ms,
            expires_ms = moved.expires_ms
        FROM unnest(
            %b::bigint[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::text[],
            %b::bigint[], %b::bigint[], %b::bigint[]
        ) AS moved (
            bucket, execution_id, status, sequence, event_count, waiting_for, ended_ms, expires_ms,
            before
        )
        WHERE e.bucket = moved.bucket AND e.execution_id = moved.execution_id
            AND e.sequence = moved.before
    """,
    Statement.NEW_RECORDS: """
        INSERT INTO events (bucket, execution_id, sequence, first_event_id, event_count, body)
        SELECT * FROM unnest(
            %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[]
        )
    """,
    Statement.NEW_PAYLOADS: """
        INSERT INTO payloads (bucket, execution_id, digest, body)
        SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bytea[], %b::bytea[])
        ON CONFLICT (bucket, execution_id, digest) DO NOTHING
    """,
    Statement.SET_ALARMS: """
        INSERT INTO timers (bucket, execution_id, due_ms)
        SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[])
        ON CONFLICT (bucket, execution_id) DO UPDATE SET due_ms = excluded.due_ms
    """,
    Statement.CLEARED_ALARMS: """
        DELETE FROM timers AS t
        USING unnest(%b::bigint[], %b::text[]) AS cleared (bucket, execution_id)
        WHERE t.bucket = cleared.bucket AND t.execution_id = cleared.execution_id
    """,
    Statement.NEW_OUTBOX: """
        INSERT INTO outbox (bucket, outbox_id, body)
        SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bytea[])
    """,
    Statement.DONE_OUTBOX: """
        DELETE FROM outbox AS o
        USING unnest(%b::bigint[], %b::text[]) AS delivered (bucket, outbox_id)
        WHERE o.bucket = delivered.bucket AND o.outbox_id = delivered.outbox_id
    """,
    Statement.NEW_STATUS_EVENTS: """
        INSERT INTO status_events (
            bucket, execution_id, event_id, at_ms, namespace, function, name, status, started_ms,
            ended_ms
        )
        SELECT * FROM unnest(
            %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::text[],
            %b::text[], %b::text[], %b::bigint[], %b::bigint[]
        )
    """,
    Statement.DONE_STATUS_EVENTS: """
        DELETE FROM status_events AS s
        USING unnest(%b::bigint[], %b::text[], %b::bigint[]) AS delivered (
            bucket, execution_id, event_id
        )
        WHERE s.bucket = delivered.bucket AND s.execution_id = delivered.execution_id
            AND s.event_id = delivered.event_id
    """,
}

# A takeover marks the row dead, and waits for the shared locks of commits in flight.
_LIVE: Final = "SELECT 1 FROM nodes WHERE incarnation = %b AND live FOR SHARE"

_ROW: Final = """
    SELECT
        e.bucket, e.execution_id, e.namespace, e.function, e.name, e.status, e.started_ms,
        e.input_digest, e.sequence, e.event_count, e.waiting_for, e.ended_ms, e.expires_ms
    FROM executions AS e
"""

_FIND: Final = f"""
    {_ROW} JOIN unnest(
        %b::bigint[], %b::text[], %b::text[], %b::text[]
    ) AS sought (bucket, namespace, function, name)
    ON e.bucket = sought.bucket AND e.namespace = sought.namespace
        AND e.function = sought.function AND e.name = sought.name
"""

_ROWS_OF: Final = f"""
    {_ROW} JOIN unnest(%b::bigint[], %b::text[]) AS sought (bucket, execution_id)
    ON e.bucket = sought.bucket AND e.execution_id = sought.execution_id
"""


def writer_engine(url: URL) -> Engine:
    """Return an engine for the one thread that writes."""
    engine = _engine(url, connections=1, isolation_level="READ COMMITTED")
    event.listen(engine, "begin", _begin)
    return engine


def reader_engine(url: URL, connections: int) -> Engine:
    """Return an engine for reading; each statement is its own transaction."""
    engine = _engine(url, connections=connections, isolation_level="AUTOCOMMIT")
    event.listen(engine, "begin", _begin_to_read)
    return engine


def sorts_each_part() -> bool:
    """Return True: the parts of a UNION ALL are planned apart, each for its own order."""
    return True


def now_ms(connection: Connection) -> int:
    """Return the time by the clock of the database."""
    found = connection.exec_driver_sql(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    )
    return int(found.scalar_one())


def insert_into(table: Table) -> Insert:
    """Return an INSERT that supports ON CONFLICT."""
    return Insert(table)


def cut(driver: "psycopg.Connection[Any]") -> None:
    """Make the thread that waits on this connection fail at once, as if the network had failed."""
    with contextlib.suppress(OSError, psycopg.Error):
        descriptor = os.dup(driver.fileno())
        with socket.socket(fileno=descriptor) as connection:
            connection.shutdown(socket.SHUT_RDWR)


def live(connection: Connection, incarnation: int) -> bool:
    """Return whether the incarnation may write. It stays so until the transaction ends."""
    statement = _LIVE.replace("%b", "%s")
    return connection.exec_driver_sql(statement, (incarnation,)).first() is not None


def write(
    connection: Connection, incarnation: int, batch: Batch, *, pipelined: bool = True
) -> bool:
    """Write the batch, or return False because the incarnation is fenced.

    Raises StatementRefused. In a pipeline the statement that it names is the last that was sent.
    """
    driver: Any = connection.connection.driver_connection
    results: list[tuple[int, psycopg.Cursor[Any]]] = []
    statement = Statement.NEW_EXECUTIONS
    try:
        with driver.pipeline() if pipelined else contextlib.nullcontext():
            fence = driver.execute(_LIVE, (incarnation,), prepare=True)
            for statement, rows in batch.statements():
                cursor = _run(driver, statement, rows)
                if statement is Statement.MOVED_EXECUTIONS:
                    results.append((len(rows), cursor))
    except VALUES_REFUSED as error:
        raise StatementRefused(statement, first_line(error)) from error
    if fence.fetchone() is None:
        return False
    if any(count != cursor.rowcount for count, cursor in results):
        raise StatementRefused(Statement.MOVED_EXECUTIONS, MOVED_ON)
    return True


def find(connection: Connection, names: Sequence[ExecutionName]) -> list[Row]:
    """Return all columns of the executions that have these names."""
    driver: Any = connection.connection.driver_connection
    rows: list[Row] = driver.execute(_FIND, _columns(map(place_of, names)), prepare=True).fetchall()
    return rows


def rows_of(connection: Connection, keys: Sequence[ExecutionKey]) -> list[Row]:
    """Return all columns of those of these executions that exist, in any order."""
    driver: Any = connection.connection.driver_connection
    places = [(key.bucket, key.execution_id) for key in keys]
    rows: list[Row] = driver.execute(_ROWS_OF, _columns(places), prepare=True).fetchall()
    return rows


def _run(
    driver: "psycopg.Connection[Any]", statement: Statement, rows: Sequence[Row]
) -> "psycopg.Cursor[Any]":
    return driver.execute(_STATEMENTS[statement], _columns(rows), prepare=True)


def _columns(rows: Iterable[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _engine(url: URL, *, connections: int, isolation_level: Any) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        isolation_level=isolation_level,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_MS / 1000,
        connect_args=dict(_CONNECT_ARGS),
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(driver: "psycopg.Connection[Any]", record: ConnectionPoolEntry) -> None:
    """Set durability and timeouts, and send integers in one width, so that plans are shared."""
    driver.adapters.register_dumper(int, Int8BinaryDumper)
    if _is_pooled(driver):
        driver.prepare_threshold = None
        record.info[_POOLED] = True
    else:
        for setting in _SETTINGS:
            driver.execute(f"SET {setting}".encode())
    driver.commit()


def _is_pooled(driver: "psycopg.Connection[Any]") -> bool:
    """Return whether the server that answers is another than the one that was connected to.

    A pooler makes up the process number that it tells its clients.
    """
    row = driver.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return row is None or row[0] != driver.info.backend_pid


def _begin(connection: Connection) -> None:
    if connection.info.get(_POOLED):
        settings = "; ".join(f"SET LOCAL {setting}" for setting in _SETTINGS)
        connection.exec_driver_sql(settings)


def _begin_to_read(connection: Connection) -> None:
    """Read in a transaction behind a pooler: nothing that is set would outlive a statement.

    It ends with the rollback of the connection that goes back to the pool.
    """
    if connection.info.get(_POOLED):
        connection.exec_driver_sql("BEGIN READ ONLY")
        _begin(connection)
