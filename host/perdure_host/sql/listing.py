"""Lists of executions: one page, however many executions there are.

The indexes `executions_by_status` and `executions_by_function` keep the executions of each status
in the order of lists. A page is read off them, one range for each status, merged: no more entries
are read than it has rows.

No index keeps names in the order of lists. Where few executions have a name that is sought, they
are found by the index of names and sorted. Otherwise the entries of the indexes by status are
walked, which hold the name too, and the page ends after so many of them, be it full or not.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    func,
    select,
    tuple_,
    union_all,
)

from perdure_core.model import ExecutionStatus
from perdure_host.ports import (
    ExecutionKey,
    ExecutionPage,
    ListPosition,
    ListQuery,
    page_of,
)
from perdure_host.sql.dialects import Dialect
from perdure_host.sql.rows import Reading, read_execution
from perdure_host.sql.schema import executions

# Executions that are read and sorted for one page, and entries of an index that are walked for one.
NAMED_MAX: Final = 1_000
WALKED_MAX: Final = 20_000
# Entries for each row of a page that are enough where many executions have the name.
_GLANCE: Final = 10

Sorted = Select[Any] | CompoundSelect[Any]

_ENTRY: Final = (
    executions.c.started_ms,
    executions.c.execution_id,
    executions.c.bucket,
    executions.c.name,
)


def list_executions(
    connection: Connection, reading: Reading, dialect: Dialect, query: ListQuery
) -> ExecutionPage:
    """Return one page of executions."""
    if query.name or query.name_prefix:
        if _are_few(connection, query):
            return _page(connection, reading, sort_named(query), query.limit)
        return _walk(connection, reading, dialect, query)
    statuses = _statuses(connection, query)
    statement = in_order(dialect, query, statuses, executions.c, query.limit + 1)
    return _page(connection, reading, statement, query.limit)


def used_statuses(query: ListQuery) -> Select[Any]:
    """Return the statement for the statuses that any execution has: a look at each, not at all."""
    status, of_function = executions.c.status, _of_function(query)
    used = select(func.min(status).label("status")).where(*of_function).cte("used", recursive=True)
    following = select(func.min(status)).where(*of_function, status > used.c.status)
    used = used.union_all(select(following.scalar_subquery()).where(used.c.status.is_not(None)))
    return select(used.c.status).where(used.c.status.is_not(None))


def in_order(
    dialect: Dialect,
    query: ListQuery,
    statuses: tuple[str, ...],
    columns: Iterable[ColumnElement[Any]],
    limit: int,
    *,
    until: ListPosition | None = None,
) -> Sorted:
    """Return the statement for columns of the first executions of these statuses, in order.

    The last of them may be the one at `until`. Names do not matter.
    """
    ranges = [
        select(*columns).where(
            *_of_function(query),
            executions.c.status == status,
            *_between(query, executions.c, until),
        )
        for status in statuses
    ]
    order = partial(_order, query)
    if len(ranges) == 1:
        return ranges[0].order_by(*order(executions.c)).limit(limit)
    if dialect.sorts_each_part():
        ranges = [each.order_by(*order(executions.c)).limit(limit) for each in ranges]
    merged = union_all(*ranges)
    return merged.order_by(*order(merged.selected_columns)).limit(limit)


def count_named(query: ListQuery) -> Select[Any]:
    """Return the statement that counts executions by name alone, a little beyond NAMED_MAX."""
    named = select(executions.c.name).where(*_has_name(query, executions.c))
    return select(func.count()).select_from(named.limit(NAMED_MAX + 1).subquery())


def sort_named(query: ListQuery) -> Select[Any]:
    """Return the statement for a page of executions with a name that few have."""
    # There may be some more by now than were counted.
    named = select(executions).where(*_has_name(query, executions.c)).limit(2 * NAMED_MAX)
    few = named.subquery()
    filters = list(_between(query, few.c))
    if query.function:
        filters.append(few.c.function == query.function)
    if query.statuses:
        filters.append(few.c.status.in_(query.statuses))
    return select(few).where(*filters).order_by(*_order(query, few.c)).limit(query.limit + 1)


def walk_named(
    dialect: Dialect,
    query: ListQuery,
    statuses: tuple[str, ...],
    limit: int,
    until: ListPosition | None = None,
) -> Select[Any]:
    """Return the statement for the keys of executions with the name, among the first entries."""
    entries = in_order(dialect, query, statuses, _ENTRY, limit, until=until).subquery()
    # The entries come in order, and an order that is asked for once more would be sorted for.
    return select(*entries.c).where(*_matches(query, entries.c.name)).limit(query.limit + 1)


def walk_end(dialect: Dialect, query: ListQuery, statuses: tuple[str, ...]) -> Sorted:
    """Return the statement for the last of the entries that are walked for one page."""
    return in_order(dialect, query, statuses, _ENTRY, WALKED_MAX).limit(1).offset(WALKED_MAX - 1)


def _are_few(connection: Connection, query: ListQuery) -> bool:
    count: int = connection.execute(count_named(query)).scalar_one()
    return count <= NAMED_MAX


def _walk(
    connection: Connection, reading: Reading, dialect: Dialect, query: ListQuery
) -> ExecutionPage:
    statuses = _statuses(connection, query)
    glance = min(_GLANCE * query.limit, WALKED_MAX)
    statement = walk_named(dialect, query, statuses, glance)
    found, end = _entries(connection, statement), None
    if len(found) <= query.limit:
        # Executions begin and end between two statements. So first an end is found, and then all
        # up to it are looked at: somewhat more or fewer than WALKED_MAX.
        last = connection.execute(walk_end(dialect, query, statuses)).first()
        end = None if last is None else (last.started_ms, last.execution_id)
        statement = walk_named(dialect, query, statuses, 2 * WALKED_MAX, end)
        found = _entries(connection, statement)
    if len(found) > query.limit:
        end = found[query.limit - 1].position
    keys = [ExecutionKey(entry.bucket, entry.execution_id) for entry in found[: query.limit]]
    of_keys = dialect.rows_of(connection, keys) if keys else []
    rows = reading.readable(of_keys, "execution", read_execution)
    ordered = sorted(rows, key=lambda row: row.position, reverse=not query.oldest_first)
    return ExecutionPage(tuple(ordered), end)


def _entries(connection: Connection, statement: Select[Any]) -> "list[_Entry]":
    return [_Entry(*entry) for entry in connection.execute(statement)]


class _Entry(msgspec.Struct, frozen=True):
    """An entry of an index in the order of lists."""

    started_ms: int
    execution_id: str
    bucket: int
    name: str

    @property
    def position(self) -> ListPosition:
        return (self.started_ms, self.execution_id)


def _statuses(connection: Connection, query: ListQuery) -> tuple[str, ...]:
    """Return the statuses that are sought, each once: without a filter, all of them.

    Those that are known come along even if none is found, since the first may come meanwhile.
    """
    if query.statuses:
        return tuple(dict.fromkeys(query.statuses))
    return tuple(sorted({*map(str, ExecutionStatus), *_used(connection, query)}))


def _used(connection: Connection, query: ListQuery) -> list[str]:
    return list(connection.execute(used_statuses(query)).scalars())


def _of_function(query: ListQuery) -> list[ColumnElement[bool]]:
    in_namespace = executions.c.namespace == query.namespace
    return [in_namespace, *([executions.c.function == query.function] if query.function else [])]


def _has_name(query: ListQuery, c: Any) -> list[ColumnElement[bool]]:
    return [c.namespace == query.namespace, *_matches(query, c.name)]


def _matches(query: ListQuery, name: Any) -> list[ColumnElement[bool]]:
    if query.name:
        return [name == query.name]
    prefix = query.name_prefix
    return [name >= prefix, name < prefix[:-1] + chr(ord(prefix[-1]) + 1)]


def _between(
    query: ListQuery, c: Any, until: ListPosition | None = None
) -> list[ColumnElement[bool]]:
    place = tuple_(c.started_ms, c.execution_id)
    bounds: list[ColumnElement[bool]] = []
    above, below = query.above, query.below
    # An index takes one bound on each side.
    if until is not None and query.oldest_first:
        bounds.append(place <= until)
        below = None
    if until is not None and not query.oldest_first:
        bounds.append(place >= until)
        above = None
    if above is not None:
        bounds.append(place > above)
    if below is not None:
        bounds.append(place < below)
    return bounds


def _order(query: ListQuery, c: Any) -> tuple[ColumnElement[Any], ...]:
    if query.oldest_first:
        return (c.started_ms, c.execution_id)
    return (c.started_ms.desc(), c.execution_id.desc())


def _page(connection: Connection, reading: Reading, statement: Sorted, limit: int) -> ExecutionPage:
    """Return the page of one row less than the statement finds, without those left out."""
    found = connection.execute(statement).all()
    rows = reading.readable(found, "execution", read_execution)
    if len(rows) == len(found) or not rows or len(found) <= limit:
        return page_of(rows, limit)
    # The next page begins behind the last row that can be read.
    return ExecutionPage(tuple(rows[:limit]), rows[:limit][-1].position)
