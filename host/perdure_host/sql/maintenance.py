"""Writes that no execution waits for: deleting expired executions, and registering functions."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, select

from perdure_host.ports import FunctionRow
from perdure_host.sql.dialects import Dialect
from perdure_host.sql.membership import fenced
from perdure_host.sql.schema import events, executions, functions, outbox, payloads, timers


def sweep(
    connection: Connection, dialect: Dialect, incarnation: int, *, now_ms: int, limit: int
) -> int:
    """Delete executions that have expired, with everything they own."""
    _require_live(connection, dialect, incarnation)
    expired = connection.execute(
        select(executions.c.bucket.label("b"), executions.c.execution_id.label("e"))
        .where(executions.c.expires_ms <= now_ms, ~_sends())
        .order_by(executions.c.expires_ms, executions.c.bucket, executions.c.execution_id)
        .limit(limit)
    )
    keys = [{"b": bucket, "e": execution_id} for bucket, execution_id in expired]
    for table in (events, payloads, timers, executions) if keys else ():
        one = delete(table).where(
            table.c.bucket == bindparam("b"), table.c.execution_id == bindparam("e")
        )
        connection.execute(one, keys)
    return len(keys)


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
    """Return the condition that an execution has an outbox row; ids there begin with its own."""
    sender = executions.c.execution_id
    return exists().where(
        outbox.c.bucket == executions.c.bucket,
        outbox.c.outbox_id > sender + "-",
        outbox.c.outbox_id < sender + ".",
    )


def _require_live(connection: Connection, dialect: Dialect, incarnation: int) -> None:
    if not dialect.live(connection, incarnation):
        raise fenced(incarnation)
