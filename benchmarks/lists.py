"""Lists among a million executions, while executions run: each filter, in each order, at each end.

    python -m benchmarks lists
    python -m benchmarks.lists COUNT

Half of the executions are of one function. Every other name is a number in order of the start, and
the rest are random. A page has 100 executions; the last page is the end of the list.
"""

import asyncio
import contextlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc.aio
import psycopg
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.throughput import PROGRAMS
from perdure import AsyncClient
from perdure_core.identity import bucket_of
from perdure_host.services import key_of
from perdure_host.sql import migrate_store
from perdure_host.tokens import pack_marker
from perdure_proto.v1 import client_pb2, client_pb2_grpc
from tests.postgres import postgres_server
from tests.system.processes import Machine

COUNT: Final = 1_000_000
PAGE: Final = 100
REPEATS: Final = 20
CALLERS: Final = 8
WORK_S: Final = 5.0
SPAN_MS: Final = 7 * 86_400_000
COLUMNS: Final = (
    "bucket, execution_id, namespace, function, name, status, started_ms, input_digest, sequence,"
    " event_count, waiting_for, ended_ms, expires_ms"
)
STATUSES: Final = {
    "SUCCEEDED": 0.95,
    "FAILED": 0.04,
    "TIMED_OUT": 0.005,
    "STOPPED": 0.004,
    "RUNNING": 0.001,
}
FUNCTIONS: Final = {"f0": 0.5, "f1": 0.4, "f2": 0.0999, "f9": 0.0001}

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "status of most": {"statuses": ["SUCCEEDED"]},
    "status of few": {"statuses": ["RUNNING"]},
    "status of none": {"statuses": ["PAUSED"]},
    "three statuses": {"statuses": ["FAILED", "TIMED_OUT", "STOPPED"]},
    "function of half": {"function_name": "f0"},
    "function of few": {"function_name": "f9"},
    "function, two statuses": {"function_name": "f1", "statuses": ["FAILED", "TIMED_OUT"]},
    "time": {"between": (0.2, 0.7)},
    "time, function, status": {
        "between": (0.2, 0.7),
        "function_name": "f1",
        "statuses": ["FAILED"],
    },
    "name": {"execution_name": "order-0000077"},
    "name of none": {"execution_name": "no-such"},
    "name, function": {"execution_name": "order-0000077", "function_name": "f1"},
    "prefix of half": {"execution_name_prefix": "order-"},
    "prefix of the oldest 5,000": {"execution_name_prefix": "order-000"},
    "prefix of the oldest 500": {"execution_name_prefix": "order-0000"},
    "prefix of some at random": {"execution_name_prefix": "a1"},
    "prefix of none": {"execution_name_prefix": "no-such"},
    "prefix, function of few": {"execution_name_prefix": "order-", "function_name": "f9"},
    "prefix, status": {"execution_name_prefix": "order-", "statuses": ["TIMED_OUT"]},
}


async def measure(name: str, url: str | None, count: int) -> None:
    """Print the figures of one database."""
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder), url) as machine:
        await migrate_store(machine.db_url)
        now_ms = int(time.time() * 1_000)
        began_s = time.perf_counter()
        (fill_postgresql if url else fill_sqlite)(machine.db_url, count, now_ms)
        print(f"{name}: {count:,} executions, filled in {time.perf_counter() - began_s:.0f} s")
        machine.start_server()
        machine.start_worker(PROGRAMS, slots=256)
        machine.wait_for_worker("three_steps")
        async with machine.async_client() as client:
            async with working(client) as alone:
                await asyncio.sleep(WORK_S)
            async with (
                working(client) as beside,
                grpc.aio.insecure_channel(machine.server_address) as channel,
            ):
                await print_pages(client_pb2_grpc.ExecutionServiceStub(channel), now_ms)
        for what, found in (("alone", alone), ("beside these lists", beside)):
            print(f"  3-step executions {what}: {found[-1]:,.0f}/s")


async def print_pages(stub: Any, now_ms: int) -> None:
    """Print a line for each filter: medians and worst of the pages, in milliseconds."""
    columns = ("newest first", "its last page", "oldest first", "its last page")
    print(f"  {'ms: median, worst of ' + str(REPEATS):28}" + "".join(f"{c:>18}" for c in columns))
    for name, filters in FILTERS.items():
        figures: list[str] = []
        for oldest_first in (False, True):
            request = request_of(filters, now_ms, oldest_first=oldest_first)
            first, _ = await pages(stub, request)
            backwards = request_of(filters, now_ms, oldest_first=not oldest_first)
            _, end = await pages(stub, backwards, repeats=1)
            request.marker = marker_before(end)
            last, _ = await pages(stub, request)
            figures += [
                f"{statistics.median(each):7.1f} {max(each):7.1f}" for each in (first, last)
            ]
        print(f"  {name:28}" + "".join(f"{each:>18}" for each in figures), flush=True)


async def pages(
    stub: Any, request: client_pb2.ListExecutionsRequest, repeats: int = REPEATS
) -> tuple[list[float], client_pb2.ListExecutionsResponse]:
    """Ask for the same page again and again; return the milliseconds of each, and the page."""
    times: list[float] = []
    page = client_pb2.ListExecutionsResponse()
    for _ in range(repeats):
        began_s = time.perf_counter()
        page = await stub.ListExecutions(request)
        times.append((time.perf_counter() - began_s) * 1_000)
    return times, page


def request_of(
    filters: dict[str, Any], now_ms: int, *, oldest_first: bool
) -> client_pb2.ListExecutionsRequest:
    """Return the request for the first page."""
    fields = dict(filters)
    between = fields.pop("between", ())
    for field, part in zip(("started_after", "started_before"), between, strict=False):
        fields[field] = Timestamp()
        fields[field].FromMilliseconds(now_ms - int(SPAN_MS * (1 - part)))
    return client_pb2.ListExecutionsRequest(max_items=PAGE, reverse_order=oldest_first, **fields)


def marker_before(end: client_pb2.ListExecutionsResponse) -> str:
    """Return the marker of the last page, from the first one of the other order."""
    if not end.next_marker or not end.executions:
        return ""
    before = end.executions[-1]
    started_ms = before.start_timestamp.ToMilliseconds()
    return pack_marker("executions", (started_ms, key_of(before.execution_arn).execution_id))


@contextlib.asynccontextmanager
async def working(client: AsyncClient) -> AsyncGenerator[list[float]]:
    """Run executions meanwhile; at the end the list holds how many ended each second."""
    paces: list[float] = []
    ended, stopping = 0, False

    async def call() -> None:
        nonlocal ended
        while not stopping:
            await client.run("three_steps", 0)
            ended += 1

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())
        yield paces
        paces.append(ended / (time.monotonic() - began_s))
        stopping = True


def rows(count: int, now_ms: int) -> Iterator[tuple[Any, ...]]:
    """Return rows of executions that were started over some days, the oldest first."""
    dice = random.Random(1)
    functions, statuses = (
        dice.choices(list(shares), list(shares.values()), k=count)
        for shares in (FUNCTIONS, STATUSES)
    )
    for number, (function, status) in enumerate(zip(functions, statuses, strict=True)):
        name = f"order-{number:07d}" if number % 2 else f"{dice.getrandbits(128):032x}"
        started_ms = now_ms - SPAN_MS + number * SPAN_MS // count
        ended = status != "RUNNING"
        yield (
            *(bucket_of("default", function, name), f"{dice.getrandbits(128):032x}"),
            *("default", function, name, status, started_ms, bytes(32), 5, 9),
            *(("ended", started_ms + 50, now_ms + SPAN_MS) if ended else ("timer", None, None)),
        )


def fill_sqlite(url: str, count: int, now_ms: int) -> None:
    """Add executions, without histories: no list looks at one."""
    path = url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = -1000000")
        database.execute("BEGIN")
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        statement = f"INSERT INTO executions ({COLUMNS}) VALUES ({marks})"  # noqa: S608
        database.executemany(statement, rows(count, now_ms))
        database.execute("COMMIT")


def fill_postgresql(url: str, count: int, now_ms: int) -> None:
    """Add executions, and do at once what autovacuum would do within a minute."""
    copying = f"COPY executions ({COLUMNS}) FROM STDIN".encode()
    with psycopg.connect(url, autocommit=True) as database:
        with database.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows(count, now_ms):
                copy.write_row(row)
        database.execute("VACUUM ANALYZE executions")


async def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures of both databases."""
    count = int(arguments[0]) if arguments else COUNT
    await measure("SQLite", None, count)
    with postgres_server(durable=True) as postgres:
        await measure("PostgreSQL", postgres.create_database(), count)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
