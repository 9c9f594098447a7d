"""Cost of a durable commit through the store, next to a raw commit of the database.

Both run in the same database, alternately, so that a busy machine disturbs both alike. The raw
commit inserts rows into one table without an index; a commit of the store checks the fence, and for
each change inserts or updates an execution's row, appends a record and sets an alarm.
"""

import asyncio
import contextlib
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator

import msgspec
import psycopg

from perdure_host.ports import Change, ExecutionKey, ExecutionRow, RecordRow, Store
from perdure_host.sql import open_store
from tests.postgres import postgres_server

ROUNDS = 150
BODY = bytes(300)
LEASE_MS = 10**9

Insert = Callable[[int], None]


async def main() -> None:
    """Print a table for each database."""
    with tempfile.TemporaryDirectory() as folder, raw_sqlite(f"{folder}/perdure.db") as insert:
        await measure("SQLite", f"sqlite:///{folder}/perdure.db", insert)
    with postgres_server(durable=True) as server:
        url = server.create_database()
        with raw_postgresql(url) as insert:
            await measure("PostgreSQL", url, insert)


async def measure(name: str, url: str, insert: Insert) -> None:
    """Print the medians of raw commits and of commits of the store."""
    store = open_store(url)
    await store.open()
    me = await store.join("bench", "bench:1", now_ms=0, lease_ms=LEASE_MS)
    print(f"{name}: median of {ROUNDS} durable commits")
    print(f"  {'changes':>8} {'raw insert':>12} {'new':>12} {'updated':>12} {'overhead':>10}")
    for count in (1, 100):
        await measure_count(store, me, count, insert)
    await store.close()


async def measure_count(store: Store, me: int, count: int, insert: Insert) -> None:
    """Print one line: commits of so many rows, or changes."""
    raw: list[float] = []
    new: list[float] = []
    updated: list[float] = []
    for number in range(ROUNDS):
        changes = [begin(count * ROUNDS * 10 + number * count + n) for n in range(count)]
        raw.append(await timed(as_coroutine(insert, count)))
        new.append(await timed(store.commit(me, changes)))
        updated.append(await timed(store.commit(me, [go_on(change) for change in changes])))
    base, fresh, later = (statistics.median(times) for times in (raw, new, updated))
    print(
        f"  {count:>8} {base * 1e6:>9.0f} us {fresh * 1e6:>9.0f} us {later * 1e6:>9.0f} us"
        f" {(later - base) / count * 1e6:>7.0f} us each"
    )


async def as_coroutine(insert: Insert, count: int) -> None:
    """Insert on the event loop's thread: the raw commit does not pay for a thread switch."""
    insert(count)


async def timed(work: Awaitable[object]) -> float:
    """Return how many seconds it took."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


@contextlib.contextmanager
def raw_sqlite(path: str) -> Generator[Insert]:
    """Create a table, and yield a function that inserts into it with one durable commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE raw (body BLOB)")

    def insert(count: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO raw VALUES (?)", [(BODY,)] * count)
        connection.execute("COMMIT")

    yield insert
    connection.close()


@contextlib.contextmanager
def raw_postgresql(url: str) -> Generator[Insert]:
    """Create a table, and yield a function that inserts into it with one durable commit."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE raw (body bytea)")
        connection.commit()

        def insert(count: int) -> None:
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO raw VALUES (%b)", [(BODY,)] * count)
            connection.commit()

        yield insert


def begin(number: int) -> Change:
    """Return the change that begins an execution."""
    row = ExecutionRow(
        key=ExecutionKey(number * 2_654_435_761 % 4_096, f"{number:032x}"),
        namespace="default",
        function="order",
        name=f"order-{number}",
        status="RUNNING",
        started_ms=number,
        input_digest=bytes(32),
        sequence=1,
        event_count=1,
        waiting_for="task",
    )
    record = RecordRow(1, 1, 1, BODY)
    return Change(row=row, new=True, records=(record,), alarm_moved=True, alarm_ms=number)


def go_on(change: Change) -> Change:
    """Return the change that follows."""
    row = msgspec.structs.replace(change.row, sequence=2, event_count=2)
    record = RecordRow(2, 2, 1, BODY)
    return msgspec.structs.replace(change, row=row, new=False, records=(record,), alarm_ms=5)


if __name__ == "__main__":
    asyncio.run(main())
