"""Throughput and latency of the system, next to the raw limits of the machine.

    python -m benchmarks.throughput

Figures mean little without an upper bound: a durable commit of the database, and an empty call of
the RPC library, both measured in the same run.
"""

import asyncio
import contextlib
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc.aio
import psycopg

from perdure import AsyncClient
from perdure_proto.v1 import client_pb2
from tests.postgres import postgres_server
from tests.system.processes import ROOT, Machine

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
CALLERS: Final = (1, 64, 256)
MEASURED_S: Final = 4.0
COMMITS: Final = 200
ROW: Final = bytes(300)
WAITS: Final = 1_000
# Long enough for all of them to be asleep before the first is due.
ASLEEP_S: Final = 8
CALLBACKS: Final = 100


@dataclass(frozen=True)
class Pace:
    """Rate per second, and the duration of each."""

    per_s: float
    seconds: Sequence[float]

    def __str__(self) -> str:
        return f"{self.per_s:8,.0f}/s   {percentiles(self.seconds)}"


def percentiles(seconds: Sequence[float]) -> str:
    """Return the median and the 99th percentile."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1_000:7.2f} ms   p99 {cuts[98] * 1_000:7.2f} ms"


async def pace(work: Callable[[], Awaitable[object]], callers: int) -> Pace:
    """Run `work` repeatedly with so many concurrent callers, and return the pace."""
    seconds: list[float] = []
    until_s = time.monotonic() + MEASURED_S

    async def caller() -> None:
        while time.monotonic() < until_s:
            began_s = time.perf_counter()
            await work()
            seconds.append(time.perf_counter() - began_s)

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return Pace(len(seconds) / (time.monotonic() - began_s), seconds)


def raw_sqlite(folder: Path) -> Pace:
    """Time commits of rows to SQLite, as durable as the server's."""
    with contextlib.closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE facts (body BLOB)")
        return commits(lambda: database.execute("INSERT INTO facts VALUES (?)", (ROW,)))


def raw_postgresql(url: str) -> Pace:
    """Time commits of rows to PostgreSQL, as durable as the server's."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE facts (body bytea)")
        return commits(lambda: database.execute("INSERT INTO facts VALUES (%s)", (ROW,)))


def commits(commit: Callable[[], object]) -> Pace:
    """Time commits one by one."""
    seconds: list[float] = []
    for _ in range(COMMITS):
        began_s = time.perf_counter()
        commit()
        seconds.append(time.perf_counter() - began_s)
    return Pace(COMMITS / sum(seconds), seconds)


async def raw_calls(callers: int) -> Pace:
    """Time calls of an empty method of the same RPC library, within this process."""

    async def answer(
        _request: client_pb2.ListFunctionsRequest, _context: object
    ) -> client_pb2.ListFunctionsResponse:
        return client_pb2.ListFunctionsResponse()

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=client_pb2.ListFunctionsRequest.FromString,
        response_serializer=client_pb2.ListFunctionsResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("raw", {"c": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/raw/c",
            request_serializer=client_pb2.ListFunctionsRequest.SerializeToString,
            response_deserializer=client_pb2.ListFunctionsResponse.FromString,
        )
        found = await pace(lambda: call(client_pb2.ListFunctionsRequest()), callers)
    await server.stop(None)
    return found


async def executions(client: AsyncClient, callers: int) -> Pace:
    """Run executions of three steps from start to result."""
    await client.run("three_steps", 0)
    return await pace(lambda: client.run("three_steps", 0), callers)


async def wake_lateness(client: AsyncClient) -> tuple[Sequence[float], Sequence[float]]:
    """Let many executions wait for the same second; return how late each woke, and ended."""
    until_s = time.time() + ASLEEP_S

    async def sleep() -> tuple[float, float]:
        arn = (await client.start("rising", until_s)).execution_arn
        await client.wait(arn)
        history = {event.event_type: event async for event in client.history(arn)}
        due_ms = history["WaitStarted"].wire.scheduled_end_timestamp.ToMilliseconds()
        woken, ended = (
            history[kind].wire.event_timestamp.ToMilliseconds() - due_ms
            for kind in ("WaitSucceeded", "ExecutionSucceeded")
        )
        return woken / 1_000, ended / 1_000

    woken, ended = zip(*await asyncio.gather(*(sleep() for _ in range(WAITS))), strict=True)
    return woken, ended


async def callback_to_end(client: AsyncClient) -> Sequence[float]:
    """Complete callbacks one by one; return the time from each to its execution's result."""
    seconds: list[float] = []
    for _ in range(CALLBACKS):
        arn = (await client.start("asking")).execution_arn
        callback_id = await open_callback(client, arn)
        began_s = time.perf_counter()
        await client.succeed_callback(callback_id, result_text="yes")
        await client.wait(arn)
        seconds.append(time.perf_counter() - began_s)
    return seconds


async def open_callback(client: AsyncClient, arn: str) -> str:
    """Return the callback of an execution once it waits for nothing else."""
    callback_id = ""
    async for event in client.follow(arn):
        callback_id = event.callback_id or callback_id
        if event.event_type == "InvocationCompleted":
            return callback_id
    raise AssertionError(f"{arn} has no open callback")


@contextlib.contextmanager
def machine(url: str | None) -> Generator[Machine]:
    """Run a server and a worker on an empty database."""
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder), url) as found:
        found.start_server()
        found.start_worker(PROGRAMS, slots=256)
        found.wait_for_worker("three_steps")
        yield found


async def measure_system(name: str, url: str | None) -> None:
    """Print the figures of the system on one database."""
    with machine(url) as running:
        async with running.async_client() as client:
            for callers in CALLERS:
                before = running.metrics()
                found = await executions(client, callers)
                after = running.metrics()
                committed = "perdure_commits_total"
                each = (after.value(committed) - before.value(committed)) / len(found.seconds)
                line(f"{name}: 3-step executions, {callers} callers", found)
                print(f"{'':54}{each:5.2f} commits each")
            woken, ended = await wake_lateness(client)
            line(f"{name}: {WAITS:,} waits due in one second, woken", percentiles(woken))
            line(f"{name}: {WAITS:,} waits due in one second, ended", percentiles(ended))
            latency = await callback_to_end(client)
            line(f"{name}: from callback to result", percentiles(latency))


def line(what: str, found: object) -> None:
    """Print one figure."""
    print(f"{what:52} {found}", flush=True)


async def main() -> None:
    """Print the raw limits, and then the figures of the system."""
    for callers in CALLERS:
        line(f"raw: empty RPC, {callers} callers", await raw_calls(callers))
    with tempfile.TemporaryDirectory() as folder, postgres_server(durable=True) as postgres:
        line("raw: commit of one row, SQLite", raw_sqlite(Path(folder)))
        line("raw: commit of one row, PostgreSQL", raw_postgresql(postgres.create_database()))
        await measure_system("SQLite", None)
        await measure_system("PostgreSQL", postgres.create_database())


if __name__ == "__main__":
    asyncio.run(main())
