"""Queries of the store. No statement here needs a transaction around it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from perdure_host.ports import (
    PAUSE_STATUSES,
    Alarm,
    ExecutionKey,
    ExecutionRow,
    FunctionRow,
    OutboxRow,
    RecordRow,
    StatusEventRow,
    StoredExecution,
    UnreadableKind,
    WaitingFor,
)
from perdure_host.sql.rows import (
    TIME_MS_MAX,
    Columns,
    Reading,
    read_alarm,
    read_execution,
    read_function,
    read_key,
    read_outbox_row,
    read_record,
    read_status_event,
)
from perdure_host.sql.schema import (
    events,
    executions,
    functions,
    outbox,
    payloads,
    status_events,
    timers,
)

_Row = TypeVar("_Row")

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
    if not records and get(connection, key) is None:
        # A sweep came between the two statements.
        return None
    return StoredExecution(row, tuple(records))


def load_many(
    connection: Connection, keys: Sequence[ExecutionKey], *, records_max: int
) -> list[StoredExecution]:
    """Return the rows of executions with few records, and these."""
    those = _any_of(executions, keys)
    found = connection.execute(_ROW.where(those, executions.c.sequence <= records_max))
    # What is damaged is left out here, and found out when it is read by itself.
    page = Reading()
    rows = {row.key: row for row in page.readable(found.all(), "execution", read_execution)}
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
    for bucket, execution_id, *columns in connection.execute(statement):
        key = ExecutionKey(bucket, execution_id)
        found_records = page.readable([columns], "execution", read_record)
        if not found_records:
            records.pop(key, None)
        elif key in records and found_records[0].sequence <= rows[key].sequence:
            records[key] += found_records
    return [
        StoredExecution(row, tuple(records[key])) for key, row in rows.items() if records.get(key)
    ]


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
    connection: Connection, reading: Reading, *, until_ms: int, after: Alarm | None, limit: int
) -> list[Alarm]:
    """Return one page of the alarms that are due."""
    place = (timers.c.due_ms, timers.c.bucket, timers.c.execution_id)
    statement = select(*place).where(timers.c.due_ms <= until_ms)
    if after is not None:
        place_before = (after.due_ms, after.key.bucket, after.key.execution_id)
        statement = statement.where(tuple_(*place) > place_before)
    return _page(connection, statement.order_by(*place), limit, reading, "alarm", read_alarm)


def without_alarm(
    connection: Connection, *, from_bucket: int, to_bucket: int, limit: int
) -> list[ExecutionKey]:
    """Return executions that run, are not paused, and have no alarm, or one without a time."""
    e, t = executions.c, timers.c
    alarm = exists().where(
        t.bucket == e.bucket,
        t.execution_id == e.execution_id,
        t.due_ms.between(0, TIME_MS_MAX),
    )
    statement = (
        select(e.bucket, e.execution_id)
        .where(
            e.bucket >= from_bucket,
            e.bucket < to_bucket,
            # As an expression, so that the range of the key is walked, and no index of all that is
            # open.
            func.coalesce(e.ended_ms, -1) == -1,
            e.status.not_in(PAUSE_STATUSES),
            ~alarm,
        )
        .order_by(e.bucket, e.execution_id)
        .limit(limit)
    )
    page = Reading()
    return page.readable(connection.execute(statement).all(), "execution", read_key)


def waiting_for(
    connection: Connection,
    reading: Reading,
    what: WaitingFor,
    *,
    after: ExecutionKey | None,
    limit: int,
) -> list[ExecutionRow]:
    """Return one page of the executions with this `waiting_for`."""
    place = (executions.c.bucket, executions.c.execution_id)
    # A literal in the statement, because partial indexes do not match parameters.
    bound: BindParameter[str] = bindparam("waiting_for", what, literal_execute=True)
    statement = _ROW.where(executions.c.waiting_for == bound)
    if after is not None:
        statement = statement.where(tuple_(*place) > (after.bucket, after.execution_id))
    statement = statement.order_by(*place)
    return _page(connection, statement, limit, reading, "execution", read_execution)


def count_open(connection: Connection) -> dict[str, int]:
    """Return how many executions of each function have not ended."""
    statement = (
        select(executions.c.function, func.count())
        .where(executions.c.ended_ms.is_(None))
        .group_by(executions.c.function)
    )
    found = connection.execute(statement)
    return {name: number for name, number in found if type(name) is str and name.isprintable()}


def read_outbox(
    connection: Connection, reading: Reading, *, after: tuple[int, str] | None, limit: int
) -> list[OutboxRow]:
    """Return one page of undelivered rows."""
    place = (outbox.c.bucket, outbox.c.outbox_id)
    statement = select(*place, outbox.c.body).order_by(*place)
    if after is not None:
        statement = statement.where(tuple_(*place) > after)
    return _page(connection, statement, limit, reading, "outbox", read_outbox_row)


def read_status_events(
    connection: Connection, reading: Reading, *, limit: int
) -> list[StatusEventRow]:
    """Return the oldest undelivered status-change events."""
    c = status_events.c
    place = (c.at_ms, c.bucket, c.execution_id, c.event_id)
    statement = select(status_events).order_by(*place)
    return _page(connection, statement, limit, reading, "status_event", read_status_event)


def count_status_events(connection: Connection, *, limit: int) -> int:
    """Return the number of undelivered status-change events, at most `limit`."""
    some = select(status_events.c.bucket).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def read_functions(connection: Connection, reading: Reading) -> list[FunctionRow]:
    """Return every registered function."""
    statement = select(functions).order_by(functions.c.namespace, functions.c.name)
    return reading.readable(connection.execute(statement).all(), "function", read_function)


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


def _page(
    connection: Connection,
    statement: Any,
    limit: int,
    reading: Reading,
    kind: UnreadableKind,
    read: Callable[[Columns], _Row],
) -> list[_Row]:
    """Return a page that is full unless there are no more rows, whatever is left out of it."""
    rows: list[_Row] = []
    for offset in count(0, limit):
        page = statement.limit(limit)
        found = connection.execute(page.offset(offset) if offset else page).all()
        rows += reading.readable(found, kind, read)
        if len(found) < limit or len(rows) >= limit:
            break
    return rows[:limit]


def _records(found: Any) -> list[RecordRow]:
    return [read_record(columns) for columns in found]


def _one(columns: Sequence[Any] | None) -> ExecutionRow | None:
    return None if columns is None else read_execution(columns)
