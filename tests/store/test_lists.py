"""Lists of executions: filtered, in order, paged, and apart from what executions wait for."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from perdure_host.ports import ExecutionPage, ExecutionRow, ListQuery, Store
from perdure_host.sql import engine, listing
from tests.store.scenes import Place, first_row, go_on, key, start

LISTED = {
    "old": first_row(1, started_ms=100, status="SUCCEEDED"),
    "twin": first_row(2, started_ms=100, name="twin"),
    "new": first_row(3, started_ms=300, status="FAILED"),
    "ship": first_row(4, started_ms=200, function="ship"),
    "ours": first_row(5, started_ms=200, namespace="ours"),
}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (ListQuery(namespace="default", limit=9), ["new", "ship", "twin", "old"]),
        (ListQuery(namespace="ours", limit=9), ["ours"]),
        (ListQuery(namespace="default", limit=2), ["new", "ship"]),
        (
            ListQuery(namespace="default", limit=9, oldest_first=True),
            ["old", "twin", "ship", "new"],
        ),
        (ListQuery(namespace="default", limit=9, function="order"), ["new", "twin", "old"]),
        (ListQuery(namespace="default", limit=9, function="order", name="twin"), ["twin"]),
        (ListQuery(namespace="default", limit=9, name="order-4"), ["ship"]),
        (ListQuery(namespace="default", limit=9, name="order"), []),
        (ListQuery(namespace="default", limit=9, name_prefix="order"), ["new", "ship", "old"]),
        (ListQuery(namespace="default", limit=9, name_prefix="order-4"), ["ship"]),
        (ListQuery(namespace="default", limit=9, name_prefix="order-44"), []),
        (
            ListQuery(
                namespace="default",
                limit=9,
                name_prefix="order-",
                function="order",
                statuses=("FAILED", "SUCCEEDED"),
                started_before_ms=300,
            ),
            ["old"],
        ),
        (
            ListQuery(namespace="default", limit=9, statuses=("FAILED", "SUCCEEDED")),
            ["new", "old"],
        ),
        (ListQuery(namespace="default", limit=9, started_after_ms=100), ["new", "ship"]),
        (ListQuery(namespace="default", limit=9, started_before_ms=300), ["ship", "twin", "old"]),
        (
            ListQuery(namespace="default", limit=9, after=(200, key(4).execution_id)),
            ["twin", "old"],
        ),
        (
            ListQuery(namespace="default", limit=9, after=(100, key(2).execution_id)),
            ["old"],
        ),
        (
            ListQuery(
                namespace="default",
                limit=9,
                oldest_first=True,
                after=(100, key(1).execution_id),
                function="order",
            ),
            ["twin", "new"],
        ),
        (ListQuery(namespace="nobody", limit=9), []),
    ],
)
async def test_lists_are_filtered_ordered_and_paged(
    place: Place, query: ListQuery, names: list[str]
) -> None:
    async with place.joined() as (store, me):
        await store.commit(
            me, [msgspec.structs.replace(start(), row=row) for row in LISTED.values()]
        )
        page = await store.list_executions(query)
        assert page.rows == tuple(LISTED[name] for name in names)


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize(
    "query",
    [
        ListQuery(namespace="default", limit=3),
        ListQuery(namespace="default", limit=1, function="f1"),
        ListQuery(namespace="default", limit=4, statuses=("FAILED", "RUNNING", "FAILED")),
        ListQuery(namespace="default", limit=2, name="n3"),
        ListQuery(namespace="default", limit=2, name_prefix="n"),
        ListQuery(namespace="default", limit=2, name_prefix="n", statuses=("FAILED",)),
        ListQuery(namespace="default", limit=2, name_prefix="n1", function="f1"),
        ListQuery(
            namespace="default", limit=2, name_prefix="n", started_after_ms=1, started_before_ms=6
        ),
    ],
)
async def test_pages_hold_everything_once_and_in_order(
    place: Place, query: ListQuery, oldest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are found in both ways: those of few executions, and those that many have."""
    query = msgspec.structs.replace(query, oldest_first=oldest_first)
    rows = [
        first_row(
            number,
            key=key(number * 7 % 40, bucket=number % 3),
            function=f"f{number % 3}",
            name=f"n{number // 3}",
            status=["RUNNING", "FAILED", "SUCCEEDED"][number % 7 % 3],
            started_ms=number % 8,
        )
        for number in range(40)
    ]
    async with place.joined() as (store, me):
        await store.commit(me, [msgspec.structs.replace(start(), row=row) for row in rows])
        whole = await store.list_executions(msgspec.structs.replace(query, limit=99))
        assert await walked(store, query) == list(whole.rows)
        monkeypatch.setattr(listing, "NAMED_MAX", 0)
        monkeypatch.setattr(listing, "WALKED_MAX", 3)
        assert await walked(store, query) == list(whole.rows)
    order = [row.position for row in whole.rows]
    assert order == sorted(order, reverse=not oldest_first)
    assert {row.key for row in whole.rows} == {row.key for row in rows if is_sought(row, query)}


async def test_a_page_ends_after_so_many_entries_full_or_not(
    sql_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "NAMED_MAX", 1)
    monkeypatch.setattr(listing, "WALKED_MAX", 2)
    names = ["sought-1", "a", "b", "c", "sought-2"]
    async with sql_place.joined() as (store, me):
        await store.commit(me, [start(number, name=name) for number, name in enumerate(names)])
        query = ListQuery(namespace="default", limit=9, name_prefix="sought-", oldest_first=True)
        sizes: list[int] = []
        while True:
            page = await store.list_executions(query)
            sizes.append(len(page.rows))
            if page.after is None:
                break
            query = msgspec.structs.replace(query, after=page.after)
    assert sizes == [1, 0, 1]


async def test_a_status_that_this_release_does_not_know_is_listed(sql_place: Place) -> None:
    async with sql_place.joined() as (store, me):
        await store.commit(me, [start(1, status="OF-TOMORROW"), start(2), start(3, status="")])
        page = await store.list_executions(ListQuery(namespace="default", limit=9))
        assert [row.status for row in page.rows] == ["", "RUNNING", "OF-TOMORROW"]


async def test_an_execution_is_listed_under_its_new_status_alone(place: Place) -> None:
    change = start(1)
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        await store.commit(me, [go_on(change, status="FAILED", waiting_for="ended")])
        for status, count in (("RUNNING", 0), ("FAILED", 1)):
            query = ListQuery(namespace="default", limit=9, statuses=(status,))
            assert len((await store.list_executions(query)).rows) == count


async def test_lists_hold_up_no_execution(
    sql_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Semaphore(0), threading.Event()
    list_executions = listing.list_executions

    def wait_and_list(
        connection: Any, reading: Any, dialect: Any, query: ListQuery
    ) -> ExecutionPage:
        begun.release()
        release.wait()
        return list_executions(connection, reading, dialect, query)

    monkeypatch.setattr(listing, "list_executions", wait_and_list)
    async with sql_place.joined() as (store, me):
        await store.commit(me, [start(1)])
        query = ListQuery(namespace="default", limit=9)
        async with asyncio.TaskGroup() as group:
            lists = [
                group.create_task(store.list_executions(query))
                for _ in range(engine.READERS + engine.LOOKUPS)
            ]
            try:
                await asyncio.to_thread(begun.acquire)
                assert await asyncio.wait_for(store.load(key(1)), 20) is not None
            finally:
                release.set()
        assert [len(each.result().rows) for each in lists] == [1] * len(lists)


async def walked(store: Store, query: ListQuery) -> list[ExecutionRow]:
    """Return the rows of all pages."""
    rows: list[ExecutionRow] = []
    while True:
        page = await store.list_executions(query)
        assert len(page.rows) <= query.limit
        rows += page.rows
        if page.after is None:
            return rows
        query = msgspec.structs.replace(query, after=page.after)


def is_sought(row: ExecutionRow, query: ListQuery) -> bool:
    return (
        query.function in ("", row.function)
        and query.name in ("", row.name)
        and row.name.startswith(query.name_prefix)
        and (not query.statuses or row.status in query.statuses)
        and (query.started_after_ms is None or row.started_ms > query.started_after_ms)
        and (query.started_before_ms is None or row.started_ms < query.started_before_ms)
    )
