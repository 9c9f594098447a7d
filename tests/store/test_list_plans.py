"""Plans of lists: every filter is served by an index in the order of the list, on each database.

The statements are those that the store sends. What a plan reads is bounded by the page, or by the
two limits of `perdure_host.sql.listing`, however many executions there are.
"""

import itertools
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from perdure_host.ports import ListQuery, Store
from perdure_host.sql import listing
from perdure_host.sql.store import SqlStore
from tests.store.scenes import Place, key

# Enough that PostgreSQL would rather read the table than look around in an index without order.
EXECUTIONS = 20_000
PAGE = 101

_ROW = """
    INSERT INTO executions (
        bucket, execution_id, namespace, function, name, status, started_ms, input_digest,
        sequence, event_count, waiting_for, ended_ms, expires_ms
    )
"""
FILL_SQLITE = f"""
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200)
    {_ROW} SELECT n % 9, printf('%032x', n), 'default', 'f' || n % 5, 'n-' || n, 'RUNNING', n, x'',
        1, 1, 'timer', NULL, NULL
    FROM numbers
"""
FILL_POSTGRESQL = f"""
    {_ROW} SELECT mod(n, 4096), md5(n::text), 'default', 'f' || mod(n, 5), 'n-' || n,
        (ARRAY['SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'FAILED', 'RUNNING'])[1 + mod(n, 5)], n,
        sha256(''), 1, 1, 'timer', NULL, NULL
    FROM generate_series(1, {EXECUTIONS}) AS n
"""

NAMES = [{}, {"name": "n-77"}, {"name_prefix": "n-1"}]
STATUSES = [(), ("FAILED",), ("FAILED", "TIMED_OUT", "RUNNING")]
TIMES: list[dict[str, Any]] = [
    {},
    {"started_after_ms": 100, "started_before_ms": 9_000},
    {"after": (5_000, key(1).execution_id), "started_after_ms": 100, "started_before_ms": 9_000},
]


def queries() -> Iterator[ListQuery]:
    """Return every combination of filters that the APIs offer, in both orders."""
    for function, names, statuses, times, oldest_first in itertools.product(
        ("", "f1"), NAMES, STATUSES, TIMES, (False, True)
    ):
        yield ListQuery(
            namespace="default",
            limit=PAGE,
            function=function,
            statuses=statuses,
            oldest_first=oldest_first,
            **names,
            **times,
        )


class Sent:
    """The statements of a store's lists, as they were sent."""

    def __init__(self, store: Store) -> None:
        assert isinstance(store, SqlStore)
        self._statements: list[tuple[str, Any]] = []
        engine = store.database._lookups  # pyright: ignore[reportPrivateUsage]
        event.listen(engine, "before_cursor_execute", self._note)
        self._store = store

    async def by(self, query: ListQuery) -> list[tuple[str, Any]]:
        """Return what one page sends."""
        self._statements.clear()
        await self._store.list_executions(query)
        return list(self._statements)

    def _note(self, _connection: object, _cursor: object, text: str, values: Any, *_: Any) -> None:
        self._statements.append((text, values))


@pytest.fixture(params=["few", "many"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether executions of a name are few, or so many that they are walked for."""
    if request.param == "many":
        monkeypatch.setattr(listing, "NAMED_MAX", 0)
        monkeypatch.setattr(listing, "WALKED_MAX", 50)
    return str(request.param)


async def test_sqlite_serves_every_list_from_indexes_in_order(
    sqlite_place: Place, found: str
) -> None:
    async with sqlite_place.opened() as store:
        assert isinstance(store, SqlStore)
        await store.database.write(lambda c: c.exec_driver_sql(FILL_SQLITE).rowcount)
        sent = Sent(store)
        for query in queries():
            for text, values in await sent.by(query):
                plan = await store.database.read(partial(steps, text=text, values=values))
                check_sqlite(query, text, plan)


def steps(connection: Connection, text: str, values: Any) -> list[str]:
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]


def check_sqlite(query: ListQuery, text: str, plan: list[str]) -> None:
    on_table = [step for step in plan if re.search(r"\bexecutions\b", step)]
    assert on_table, plan
    assert all(step.startswith("SEARCH executions USING") for step in on_table), plan
    temporary = [step for step in plan if "TEMP B-TREE" in step or "MATERIALIZE" in step]
    if is_sort(text):
        assert temporary == ["USE TEMP B-TREE FOR ORDER BY"], plan
        assert any("executions_name (namespace=?" in step for step in plan), plan
    else:
        assert temporary == [], plan
    if "ORDER BY" in text and not is_sort(text):
        index = "executions_by_function" if query.function else "executions_by_status"
        for step in on_table:
            assert index in step, plan
            assert "status=?" in step, plan
            assert ("(started_ms,execution_id)>" in step) >= (query.above is not None), plan
            assert ("(started_ms,execution_id)<" in step) >= (query.below is not None), plan


async def test_postgresql_serves_every_list_from_indexes_in_order(
    postgres_place: Place, found: str
) -> None:
    async with postgres_place.opened() as store:
        assert isinstance(store, SqlStore)
        await store.database.write(lambda c: c.exec_driver_sql(FILL_POSTGRESQL).rowcount)
        await store.database.read(lambda c: c.exec_driver_sql("VACUUM ANALYZE executions").rowcount)
        sent = Sent(store)
        for query in queries():
            for text, values in await sent.by(query):
                plan = await store.database.read(partial(nodes, text=text, values=values))
                check_postgresql(query, text, plan)


def nodes(connection: Connection, text: str, values: Any) -> list[dict[str, Any]]:
    plan: Any = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", values).scalar()
    return list(below(plan[0]["Plan"]))


def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from below(each)


def check_postgresql(query: ListQuery, text: str, plan: list[dict[str, Any]]) -> None:
    kinds = {node["Node Type"] for node in plan}
    assert not kinds & {"Seq Scan", "Bitmap Heap Scan", "Incremental Sort", "Hash"}, plan
    assert ("Sort" in kinds) <= is_sort(text), plan
    scans = [node for node in plan if node.get("Relation Name") == "executions"]
    assert scans, plan
    if is_sort(text):
        assert {node["Index Name"] for node in scans} == {"executions_name"}, plan
    elif "ORDER BY" in text:
        index = "executions_by_function" if query.function else "executions_by_status"
        for node in scans:
            assert node["Index Name"] == index, plan
            assert "Filter" not in node, plan
            condition = node["Index Cond"]
            bounds = (query.above is not None) + (query.below is not None)
            assert condition.count("ROW(started_ms") >= bounds, plan


def is_sort(text: str) -> bool:
    """Return whether a statement sorts: at most NAMED_MAX executions of one name."""
    return "ORDER BY anon" in text
