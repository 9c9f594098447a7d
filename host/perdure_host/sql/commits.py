"""One commit: all of its changes at once, or, when one contradicts what is stored, each by itself.

The second way is slow and is taken only for a bug or a damaged database. It tells the change that
is to blame from those that are not, and writes the others.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from perdure_host.ports import Change, OutboxRow, RefusedChange, StatusEventRow
from perdure_host.sql.batch import Batch, StatementRefused
from perdure_host.sql.dialects import Dialect
from perdure_host.sql.membership import fenced

# Deliveries and status-change events that were delivered, of no change in particular.
Done = tuple[Sequence[OutboxRow], Sequence[StatusEventRow]]


def write(
    connection: Connection,
    dialect: Dialect,
    incarnation: int,
    changes: Sequence[Change],
    done: Done,
) -> tuple[RefusedChange, ...]:
    """Write the changes in the transaction that is open; return those that were refused.

    Raises Fenced.
    """
    try:
        _write(connection, dialect, incarnation, Batch(changes, *done))
    except StatementRefused:
        connection.rollback()
        connection.begin()
        return _write_each(connection, dialect, incarnation, changes, done)
    return ()


def _write_each(
    connection: Connection,
    dialect: Dialect,
    incarnation: int,
    changes: Sequence[Change],
    done: Done,
) -> tuple[RefusedChange, ...]:
    refused: list[RefusedChange] = []
    for change in changes:
        savepoint = connection.begin_nested()
        batch = Batch((change,), (), ())
        try:
            _write(connection, dialect, incarnation, batch, pipelined=False)
        except StatementRefused as error:
            savepoint.rollback()
            refused.append(RefusedChange(change.row.key, error.statement.name, error.reason))
        else:
            savepoint.commit()
    _write(connection, dialect, incarnation, Batch((), *done))
    return tuple(refused)


def _write(
    connection: Connection,
    dialect: Dialect,
    incarnation: int,
    batch: Batch,
    *,
    pipelined: bool = True,
) -> None:
    if not dialect.write(connection, incarnation, batch, pipelined=pipelined):
        raise fenced(incarnation)
