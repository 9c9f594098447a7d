"""SQLite only: its settings, a full disk, a lock that another process holds."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from perdure_host.errors import StoreUnavailable
from perdure_host.ports import RecordRow
from perdure_host.sql import open_store, sqlite
from perdure_host.sql.engine import Database
from perdure_host.sql.store import SqlStore
from tests.store.scenes import Place, key, start


def pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


async def test_every_commit_is_synced(sqlite_place: Place) -> None:
    database = Database(sqlite_place.url)
    assert await database.write(lambda c: pragma(c, "synchronous")) == 2
    assert await database.write(lambda c: pragma(c, "journal_mode")) == "wal"
    await database.close()


async def test_readers_cannot_write(sqlite_place: Place) -> None:
    async with sqlite_place.opened() as store:
        assert isinstance(store, SqlStore)
        with pytest.raises(StoreUnavailable, match="readonly"):
            await store.database.read(lambda c: c.exec_driver_sql("DELETE FROM nodes").rowcount)


async def test_a_full_disk_refuses_the_commit_and_writes_nothing(sqlite_place: Place) -> None:
    async with sqlite_place.joined() as (store, me):
        assert isinstance(store, SqlStore)
        pages = await store.database.write(lambda c: pragma(c, "page_count"))
        await store.database.write(lambda c: pragma(c, f"max_page_count = {pages}"))
        large = start(2, records=(RecordRow(1, 1, 1, bytes(1_000_000)),))
        with pytest.raises(StoreUnavailable, match="database or disk is full"):
            await store.commit(me, [start(1), large])
        assert await store.load(key(1)) is None
        assert await store.load(key(2)) is None
        # The next connection knows no such limit: the disk has room again.
        await store.commit(me, [start(1), large])


async def test_an_alarm_that_holds_no_time_counts_as_lost(sqlite_place: Place) -> None:
    async with sqlite_place.joined() as (store, me):
        await store.commit(me, [start(1, alarm_ms=5), start(2, alarm_ms=5)])
        damage = "UPDATE timers SET due_ms = 'soon' WHERE execution_id = ?"
        with sqlite3.connect(sqlite_place.url.removeprefix("sqlite:///")) as connection:
            connection.execute(damage, (key(1).execution_id,))
        connection.close()
        found = await store.without_alarm(from_bucket=0, to_bucket=4_096, limit=9)
    assert found == [key(1)]


async def test_a_lock_that_is_held_refuses_the_commit(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pragmas = ("PRAGMA busy_timeout = 1", *sqlite.PRAGMAS[1:])
    monkeypatch.setattr(sqlite, "PRAGMAS", pragmas)
    async with sqlite_place.joined() as (store, me):
        holder = sqlite3.connect(sqlite_place.url.removeprefix("sqlite:///"))
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await store.commit(me, [start(1)])
        assert await store.get(key(1)) is None
        holder.close()
        await store.commit(me, [start(1)])


async def test_a_new_file_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "perdure.db")
    holder.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.1, holder.rollback)
    store = open_store(f"sqlite:///{tmp_path}/perdure.db")
    await store.open()
    assert await store.get(key(1)) is None
    await store.close()
    holder.close()


async def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/nowhere/perdure.db")
    with pytest.raises(StoreUnavailable, match=r"nowhere/perdure\.db.*unable to open"):
        await store.open()
    await store.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    store = open_store(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(StoreUnavailable, match=r"notes\.txt.*not a database"):
        await store.open()
    await store.close()


async def test_queries_of_the_hot_paths_use_their_indexes(sqlite_place: Place) -> None:
    questions = {
        "executions_waiting_for_task": "SELECT * FROM executions WHERE waiting_for = 'task'"
        " AND (bucket, execution_id) > (1, 'x') ORDER BY bucket, execution_id",
        "executions_open": "SELECT function, count(*) FROM executions WHERE ended_ms IS NULL"
        " GROUP BY function",
        "executions_expiring": "SELECT bucket FROM executions WHERE expires_ms <= 5"
        " ORDER BY expires_ms",
        "executions_name": "SELECT * FROM executions WHERE bucket = 1 AND namespace = 'n'"
        " AND function = 'f' AND name = 'x'",
        "status_events_by_time": "SELECT * FROM status_events"
        " ORDER BY at_ms, bucket, execution_id, event_id LIMIT 5",
        "timers_due": "SELECT due_ms FROM timers WHERE due_ms <= 5 AND"
        " (due_ms, bucket, execution_id) > (1, 2, 'x') ORDER BY due_ms, bucket, execution_id",
    }

    def plans(connection: Connection) -> dict[str, str]:
        return {
            index: str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}").all())
            for index, question in questions.items()
        }

    async with sqlite_place.opened() as store:
        assert isinstance(store, SqlStore)
        for index, plan in (await store.database.read(plans)).items():
            assert index in plan
            assert "TEMP B-TREE" not in plan
