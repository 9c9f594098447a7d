"""The rows of one execution as they are stored, for people who look at what cannot be read."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, literal, select

from perdure_host.ports import ExecutionKey, StoredRow
from perdure_host.sql.schema import events, executions, outbox, payloads, status_events, timers

# In the order in which they are returned.
_TABLES: Final = (executions, events, payloads, timers, outbox, status_events)
# What a row takes besides its body.
_ROW_BYTES: Final = 100


def stored_rows(
    connection: Connection, key: ExecutionKey, *, skip: int, limit: int, bytes_max: int
) -> list[StoredRow]:
    """Return some of the rows. Sizes are read first, so that no more than these are in memory."""
    rows: list[StoredRow] = []
    for table in _TABLES:
        those = _of(table, key)
        found = connection.execute(select(func.count()).select_from(table).where(those))
        number = found.scalar_one()
        if skip >= number:
            skip -= number
            continue
        place = table.primary_key.columns
        body = table.c.get("body")
        size: ColumnElement[Any] = literal(0) if body is None else func.length(body)
        sizes = select(size).where(those).order_by(*place).offset(skip).limit(limit - len(rows))
        taken = 0
        for (size_bytes,) in connection.execute(sizes):
            bytes_max -= _ROW_BYTES + (size_bytes or 0)
            if bytes_max < 0 and (rows or taken):
                break
            taken += 1
        page = select(table).where(those).order_by(*place).offset(skip).limit(taken)
        rows += [_row(table, columns) for columns in connection.execute(page)]
        if bytes_max < 0 or len(rows) >= limit:
            break
        skip = 0
    return rows


def _of(table: Table, key: ExecutionKey) -> ColumnElement[bool]:
    """Return the condition that a row is of this execution; a delivery is of its sender."""
    in_bucket = table.c.bucket == key.bucket
    if table is outbox:
        sent = outbox.c.outbox_id
        return in_bucket & (sent > f"{key.execution_id}-") & (sent < f"{key.execution_id}.")
    return in_bucket & (table.c.execution_id == key.execution_id)


def _row(table: Table, columns: Any) -> StoredRow:
    return StoredRow(table.name, dict(zip(table.c.keys(), columns, strict=True)))
