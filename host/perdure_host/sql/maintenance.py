"""Writes that no execution waits for: deleting expired executions, and registering functions."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    exists,
    func,
    select,
)

from perdure_host.ports import ExecutionKey, FunctionRow, OutboxRow
from perdure_host.sql.dialects import Dialect
from perdure_host.sql.membership import fenced
from perdure_host.sql.schema import (
    deleted_executions,
    events,
    executions,
    functions,
    outbox,
    payloads,
    timers,
)

# What the statements of a slice may take. A slice that took longer makes the next one smaller.
SLICE_S: Final = 0.01
# However slow the database is, so many rows are deleted at a time: otherwise they would only grow.
SLICE_ROWS_MIN: Final = 10
_SHARE_MIN: Final = 0.01
_GROWTH_MAX: Final = 2.0
# Of one slice. A row is deleted whole, however large it is.
EXECUTIONS_MAX: Final = 100
REMAINS_BYTES_MAX: Final = 1_024 * 1_024


class Pace:
    """How many rows a slice may delete: fewer after one that took long, so that commits go on.

    What is measured are the statements, not how long they waited for their turn.
    """

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._now_s = now_s
        self._share = 1.0

    def rows(self, limit: int) -> int:
        """Return how many rows of this limit the next slice may delete."""
        return max(min(limit, SLICE_ROWS_MIN), int(limit * self._share))

    @contextlib.contextmanager
    def measured(self) -> Generator[None]:
        """Measure one slice."""
        began_s = self._now_s()
        yield
        took_s = max(self._now_s() - began_s, SLICE_S / _GROWTH_MAX)
        self._share = min(1.0, max(_SHARE_MIN, self._share * SLICE_S / took_s))


def sweep(
    connection: Connection, dialect: Dialect, incarnation: int, *, now_ms: int, limit: int
) -> int:
    """Delete the rows of executions that have expired; leave what they own to `delete_remains`."""
    _require_live(connection, dialect, incarnation)
    expired = connection.execute(
        select(executions.c.bucket, executions.c.execution_id)
        .where(executions.c.expires_ms <= now_ms)
        .order_by(executions.c.expires_ms, executions.c.bucket, executions.c.execution_id)
        .limit(limit)
    )
    keys = [(bucket, execution_id) for bucket, execution_id in expired]
    if keys:
        _delete_rows(connection, dialect, keys)
    return len(keys)


def _delete_rows(connection: Connection, dialect: Dialect, keys: Sequence[tuple[int, str]]) -> None:
    rows = [{"bucket": bucket, "execution_id": execution_id} for bucket, execution_id in keys]
    put = dialect.insert_into(deleted_executions)
    connection.execute(put.on_conflict_do_nothing(), rows)
    _delete(connection, timers, keys)
    _delete(connection, executions, keys)


def delete_remains(
    connection: Connection, dialect: Dialect, incarnation: int, *, limit: int
) -> bool:
    """Delete some records and payloads of executions whose row is gone; return whether any.

    A slice is bounded in rows and in bytes, so that no commit waits for it long.
    """
    _require_live(connection, dialect, incarnation)
    c = deleted_executions.c
    place = (c.bucket, c.execution_id)
    chosen = select(*place).where(~_sends()).order_by(*place).limit(EXECUTIONS_MAX)
    keys = [(bucket, execution_id) for bucket, execution_id in connection.execute(chosen)]
    part = _Slice(limit, REMAINS_BYTES_MAX)
    for table in (payloads, events) if keys else ():
        joined = table.join(
            owners := chosen.subquery(),
            (table.c.bucket == owners.c.bucket) & (table.c.execution_id == owners.c.execution_id),
        )
        found = connection.execute(
            select(*table.primary_key.columns, func.length(table.c.body))
            .select_from(joined)
            .limit(part.rows)
        )
        rows = part.fill(found)
        if rows:
            _delete(connection, table, rows)
        if part.is_full:
            return True
    if keys:
        _delete(connection, deleted_executions, keys)
    return bool(keys)


class _Slice:
    """What one slice may still delete."""

    def __init__(self, rows: int, size_bytes: int) -> None:
        self.rows = rows
        self._bytes = size_bytes

    @property
    def is_full(self) -> bool:
        """Return whether there may be more than was deleted."""
        return self.rows <= 0 or self._bytes <= 0

    def fill(self, found: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return the keys of rows that fit: at least one. Their last column is the size."""
        taken: list[Sequence[Any]] = []
        for *key, size_bytes in found:
            if self.is_full:
                break
            taken.append(key)
            self.rows -= 1
            self._bytes -= size_bytes
        return taken


def _delete(connection: Connection, table: Table, keys: Sequence[Sequence[Any]]) -> None:
    """Delete rows by their primary keys, or by the first columns of them."""
    columns = list(table.primary_key.columns)[: len(keys[0])]
    one = delete(table).where(*(column == bindparam(f"k_{column.name}") for column in columns))
    names = [f"k_{column.name}" for column in columns]
    connection.execute(one, [dict(zip(names, key, strict=True)) for key in keys])


def delete_execution(
    connection: Connection,
    dialect: Dialect,
    incarnation: int,
    key: ExecutionKey,
    sends: Sequence[OutboxRow],
) -> None:
    """Delete one execution and what it sends; leave what it owns to `delete_remains`.

    `sends` is what is sent on its behalf instead.
    """
    _require_live(connection, dialect, incarnation)
    _delete_rows(connection, dialect, [(key.bucket, key.execution_id)])
    sent = (
        outbox.c.outbox_id > f"{key.execution_id}-",
        outbox.c.outbox_id < f"{key.execution_id}.",
    )
    connection.execute(delete(outbox).where(outbox.c.bucket == key.bucket, *sent))
    if sends:
        rows = [{"bucket": s.bucket, "outbox_id": s.outbox_id, "body": s.body} for s in sends]
        connection.execute(dialect.insert_into(outbox), rows)


def put_functions(
    connection: Connection, dialect: Dialect, incarnation: int, rows: Sequence[FunctionRow]
) -> None:
    """Insert or replace the rows of functions."""
    _require_live(connection, dialect, incarnation)
    for row in rows:
        place = {"namespace": row.namespace, "name": row.name}
        facts = {
            "execution_timeout_s": row.execution_timeout_s,
            "retention_days": row.retention_days,
            "durable": row.durable,
            "tenant_isolation": row.tenant_isolation,
        }
        put = dialect.insert_into(functions).values(**place, **facts)
        connection.execute(put.on_conflict_do_update(index_elements=list(place), set_=facts))


def _sends() -> ColumnElement[bool]:
    """Return the condition that the execution has an outbox row; ids there begin with its own."""
    sender = deleted_executions.c.execution_id
    return exists().where(
        outbox.c.bucket == deleted_executions.c.bucket,
        outbox.c.outbox_id > sender + "-",
        outbox.c.outbox_id < sender + ".",
    )


def _require_live(connection: Connection, dialect: Dialect, incarnation: int) -> None:
    if not dialect.live(connection, incarnation):
        raise fenced(incarnation)
