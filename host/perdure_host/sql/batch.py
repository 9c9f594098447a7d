"""Rows of one commit, grouped by SQL statement.

Both databases run the same statements in the same order, each in its own dialect.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import Any

from perdure_host.ports import (
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionRow,
    OutboxRow,
    StatusEventRow,
)

Row = tuple[Any, ...]


class Statement(enum.Enum):
    """The statements of a commit, in the order of execution."""

    NEW_REMAINS = enum.auto()
    REPLACED_EXECUTIONS = enum.auto()
    NEW_EXECUTIONS = enum.auto()
    MOVED_EXECUTIONS = enum.auto()
    NEW_RECORDS = enum.auto()
    NEW_PAYLOADS = enum.auto()
    SET_ALARMS = enum.auto()
    CLEARED_ALARMS = enum.auto()
    NEW_OUTBOX = enum.auto()
    DONE_OUTBOX = enum.auto()
    NEW_STATUS_EVENTS = enum.auto()
    DONE_STATUS_EVENTS = enum.auto()


class StatementRefused(Exception):
    """A statement contradicts what is stored; the transaction must be rolled back."""

    def __init__(self, statement: Statement, reason: str) -> None:
        super().__init__(f"{statement.name}: {reason}")
        self.statement = statement
        self.reason = reason


class Batch:
    """The rows of each statement."""

    def __init__(
        self,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow],
        status_events_done: Sequence[StatusEventRow],
    ) -> None:
        self._rows: dict[Statement, list[Row]] = {statement: [] for statement in Statement}
        for change in changes:
            self._add(change)
        self._rows[Statement.DONE_OUTBOX] += [(row.bucket, row.outbox_id) for row in outbox_done]
        self._rows[Statement.DONE_STATUS_EVENTS] = [
            (row.key.bucket, row.key.execution_id, row.event_id) for row in status_events_done
        ]

    def statements(self) -> Iterator[tuple[Statement, list[Row]]]:
        """Return the statements that have rows, with their rows."""
        return ((statement, rows) for statement, rows in self._rows.items() if rows)

    def _add(self, change: Change) -> None:
        rows, row = self._rows, change.row
        key = (row.key.bucket, row.key.execution_id)
        if change.replaces is not None:
            replaced = (change.replaces.bucket, change.replaces.execution_id)
            rows[Statement.NEW_REMAINS].append(replaced)
            rows[Statement.REPLACED_EXECUTIONS].append(replaced)
            rows[Statement.CLEARED_ALARMS].append(replaced)
        if change.new:
            rows[Statement.NEW_EXECUTIONS].append(_all_columns(key, row))
        else:
            before = row.sequence - len(change.records)
            rows[Statement.MOVED_EXECUTIONS].append((*_changing_columns(key, row), before))
        rows[Statement.NEW_RECORDS] += [
            (*key, record.sequence, record.first_event_id, record.event_count, record.body)
            for record in change.records
        ]
        rows[Statement.NEW_PAYLOADS] += [
            (*key, payload.digest, payload.body) for payload in change.payloads
        ]
        rows[Statement.NEW_OUTBOX] += [
            (sent.bucket, sent.outbox_id, sent.body) for sent in change.outbox
        ]
        rows[Statement.DONE_OUTBOX] += [
            (done.bucket, done.outbox_id) for done in change.outbox_done
        ]
        if change.status_events:
            rows[Statement.NEW_STATUS_EVENTS] += map(_columns_of, change.status_events)
        if change.alarm_moved:
            self._move_alarm(key, change.alarm_ms)

    def _move_alarm(self, key: tuple[int, str], alarm_ms: int | None) -> None:
        if alarm_ms is None:
            self._rows[Statement.CLEARED_ALARMS].append(key)
        else:
            self._rows[Statement.SET_ALARMS].append((*key, alarm_ms))


def place_of(name: ExecutionName) -> Row:
    """Return the columns of a name, in the order of the schema."""
    return (name.bucket, name.namespace, name.function, name.name)


def execution_of(columns: Sequence[Any]) -> ExecutionRow:
    """Return the row that a SELECT of all columns has read, in the order of the schema."""
    (
        bucket, execution_id, namespace, function, name, status, started_ms, input_digest,
        sequence, event_count, waiting_for, ended_ms, expires_ms,
    ) = columns  # fmt: skip
    return ExecutionRow(
        key=ExecutionKey(bucket, execution_id),
        namespace=namespace,
        function=function,
        name=name,
        status=status,
        started_ms=started_ms,
        input_digest=input_digest,
        sequence=sequence,
        event_count=event_count,
        waiting_for=waiting_for,
        ended_ms=ended_ms,
        expires_ms=expires_ms,
    )


def status_event_of(columns: Sequence[Any]) -> StatusEventRow:
    """Return the row that a SELECT of all columns has read, in the order of the schema."""
    (
        bucket, execution_id, event_id, at_ms, namespace, function, name, status, started_ms,
        ended_ms,
    ) = columns  # fmt: skip
    return StatusEventRow(
        key=ExecutionKey(bucket, execution_id),
        event_id=event_id,
        at_ms=at_ms,
        namespace=namespace,
        function=function,
        name=name,
        status=status,
        started_ms=started_ms,
        ended_ms=ended_ms,
    )


def _columns_of(event: StatusEventRow) -> Row:
    """Return all columns of a status-change event, in the order of the schema."""
    return (
        event.key.bucket, event.key.execution_id, event.event_id, event.at_ms, event.namespace,
        event.function, event.name, event.status, event.started_ms, event.ended_ms,
    )  # fmt: skip


def _all_columns(key: tuple[int, str], row: ExecutionRow) -> Row:
    """Return all columns of an execution, in the order of the schema."""
    return (
        *key, row.namespace, row.function, row.name, row.status, row.started_ms, row.input_digest,
        row.sequence, row.event_count, row.waiting_for, row.ended_ms, row.expires_ms,
    )  # fmt: skip


def _changing_columns(key: tuple[int, str], row: ExecutionRow) -> Row:
    """Return the columns that change while an execution lives; the others say what it is."""
    return (
        *key, row.status, row.sequence, row.event_count, row.waiting_for, row.ended_ms,
        row.expires_ms,
    )  # fmt: skip
