"""Queries of the store. No statement here needs a transaction around it."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
)

from perdure_host.ports import (
    Alarm,
    ExecutionKey,
    ExecutionRow,
    FunctionRow,
    OutboxRow,
    RecordRow,
    StatusEventRow,
    StoredExecution,
    WaitingFor,
)
from perdure_host.sql.batch import execution_of, status_event_of
from perdure_host.sql.schema import (
    events,
    executions,
    functions,
    outbox,
    payloads,
    status_events,
    timers,
)

_ROW = select(executions)
_RECORD = select(events.c.sequence, events.c.first_event_id, events.c.event_count, events.c.body)


def get(connection: Connection, key: ExecutionKey) -> ExecutionRow | None:
    """Return an execution's row."""
    statement = _ROW.where(
        executions.c.bucket == key.bucket, executions.c.execution_id == key.execution_id
    )
    return _one(connection.execute(statement).first())


def load(connection: Connection, key: ExecutionKey) -> StoredExecution | None:
    """Return a row with its records.

    Records are only ever appended, and in one transaction with their row: those up to the row's
    own number belong to it, whatever has been committed between the two statements.
    """
    row = get(connection, key)
    if row is None:
        return None
    statement = _records_of(key).where(events.c.sequence <= row.sequence)
    records = _records(connection.execute(statement.order_by(events.c.sequence)))
    # There are none only if a sweep came between the two statements.
    return StoredExecution(row, tuple(records)) if records else None


def load_many(
    connection: Connection, keys: Sequence[ExecutionKey], *, records_max: int
) -> list[StoredExecution]:
    """Return the rows of executions with few records, and these."""
    those = _any_of(executions, keys)
    found = connection.execute(_ROW.where(those, executions.c.sequence <= records_max))
    rows = {row.key: row for row in map(execution_of, found)}
    if not rows:
        return []
    statement = select(
        events.c.bucket,
        events.c.execution_id,
        events.c.sequence,
        events.c.first_event_id,
        events.c.event_count,
        events.c.body,
    )
    records: dict[ExecutionKey, list[RecordRow]] = {key: [] for key in rows}
    statement = statement.where(_any_of(events, rows)).order_by(events.c.sequence)
    for bucket, execution_id, sequence, first, count, body in connection.execute(statement):
        key = ExecutionKey(bucket, execution_id)
        if sequence <= rows[key].sequence:
            records[key].append(RecordRow(sequence, first, count, body))
    return [StoredExecution(row, tuple(records[key])) for key, row in rows.items() if records[key]]


def load_payloads(
    connection: Connection, key: ExecutionKey, digests: Sequence[bytes]
) -> dict[bytes, bytes]:
    """Return those of an execution's payloads that exist."""
    statement = select(payloads.c.digest, payloads.c.body).where(
        payloads.c.bucket == key.bucket,
        payloads.c.execution_id == key.execution_id,
        payloads.c.digest.in_(digests),
    )
    return {digest: body for digest, body in connection.execute(statement)}  # noqa: C416


def read_records(
    connection: Connection, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool
) -> list[RecordRow]:
    """Return one page of the records that contain public events."""
    statement = _records_of(key).where(events.c.event_count > 0).limit(limit)
    if reverse:
        statement = statement.where(events.c.first_event_id <= from_event_id)
        return _records(connection.execute(statement.order_by(events.c.sequence.desc())))
    statement = statement.where(events.c.first_event_id + events.c.event_count > from_event_id)
    return _records(connection.execute(statement.order_by(events.c.sequence)))


def alarms(
    connection: Connection, *, until_ms: int, after: Alarm | None, limit: int
) -> list[Alarm]:
    """Return one page of the alarms that are due."""
    place = (timers.c.due_ms, timers.c.bucket, timers.c.execution_id)
    statement = select(*place).where(timers.c.due_ms <= until_ms)
    if after is not None:
        place_before = (after.due_ms, after.key.bucket, after.key.execution_id)
        statement = statement.where(tuple_(*place) > place_before)
    found = connection.execute(statement.order_by(*place).limit(limit))
    return [Alarm(due, ExecutionKey(bucket, execution_id)) for due, bucket, execution_id in found]


def waiting_for(
    connection: Connection, what: WaitingFor, *, after: ExecutionKey | None, limit: int
) -> list[ExecutionRow]:
    """Return one page of the executions with this `waiting_for`."""
    place = (executions.c.bucket, executions.c.execution_id)
    # A literal in the statement, because partial indexes do not match parameters.
    bound: BindParameter[str] = bindparam("waiting_for", what, literal_execute=True)
    statement = _ROW.where(executions.c.waiting_for == bound)
    if after is not None:
        statement = statement.where(tuple_(*place) > (after.bucket, after.execution_id))
    return _many(connection.execute(statement.order_by(*place).limit(limit)))


def count_open(connection: Connection) -> dict[str, int]:
    """Return how many executions of each function have not ended."""
    statement = (
        select(executions.c.function, func.count())
        .where(executions.c.ended_ms.is_(None))
        .group_by(executions.c.function)
    )
    return {function: count for function, count in connection.execute(statement)}  # noqa: C416


def read_outbox(
    connection: Connection, *, after: tuple[int, str] | None, limit: int
) -> list[OutboxRow]:
    """Return one page of undelivered rows."""
    place = (outbox.c.bucket, outbox.c.outbox_id)
    statement = select(*place, outbox.c.body).order_by(*place).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*place) > after)
    return [OutboxRow(*columns) for columns in connection.execute(statement)]


def read_status_events(connection: Connection, *, limit: int) -> list[StatusEventRow]:
    """Return the oldest undelivered status-change events."""
    c = status_events.c
    place = (c.at_ms, c.bucket, c.execution_id, c.event_id)
    found = connection.execute(select(status_events).order_by(*place).limit(limit))
    return [status_event_of(columns) for columns in found]


def count_status_events(connection: Connection, *, limit: int) -> int:
    """Return the number of undelivered status-change events, at most `limit`."""
    some = select(status_events.c.bucket).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def read_functions(connection: Connection) -> list[FunctionRow]:
    """Return every registered function."""
    statement = select(functions).order_by(functions.c.namespace, functions.c.name)
    return [FunctionRow(**row) for row in connection.execute(statement).mappings()]


def _any_of(table: Table, keys: Iterable[ExecutionKey]) -> ColumnElement[bool]:
    """Return the condition that a row is of one of these executions.

    SQLite looks each of these up in the index; for a tuple IN a list it reads the whole table.
    """
    return or_(
        *(
            and_(table.c.bucket == key.bucket, table.c.execution_id == key.execution_id)
            for key in keys
        )
    )


def _records_of(key: ExecutionKey) -> Any:
    return _RECORD.where(events.c.bucket == key.bucket, events.c.execution_id == key.execution_id)


def _records(found: Any) -> list[RecordRow]:
    return [RecordRow(*columns) for columns in found]


def _many(found: Any) -> list[ExecutionRow]:
    return [execution_of(columns) for columns in found]


def _one(columns: Sequence[Any] | None) -> ExecutionRow | None:
    return None if columns is None else execution_of(columns)
