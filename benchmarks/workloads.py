"""Six workloads on a server and a worker of their own, on SQLite: rates, times, CPU.

    PYTHON benchmarks/workloads.py

PYTHON is the interpreter of any checkout's environment: the server and the worker that are measured
are that checkout's, so that two checkouts can be measured in turn (`benchmarks/compare.py`). Only
public names and commands are used here. Prints one JSON object: figure -> value.

The raw limits of the machine are in it, too: a durable commit and nothing else.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perdure import AsyncClient

FUNCTIONS: Final = Path(__file__).parent / "workload_functions.py"
START_S_MAX: Final = 60.0
MEASURED_S: Final = 4.0
POLL_S: Final = 0.05
ALONE: Final = 100
STEPS: Final = 1_000
WAITS: Final = 1_000
# Long enough for all of them to be asleep before the first is due.
ASLEEP_S: Final = 6
CALLBACKS: Final = 100
ITEMS: Final = 1_000
# One run of a thousand steps or items takes seconds, and varies by a third.
REPEATS: Final = 3
COMMITS: Final = 300

Work = Callable[[], Awaitable[object]]
Figures = dict[str, float]


@dataclass(frozen=True)
class System:
    """A running server with its worker."""

    address: str
    processes: tuple["subprocess.Popen[bytes]", ...]

    def cpu_s(self) -> float:
        """Return the CPU seconds of the server and the worker so far."""
        return sum(_cpu_s(process.pid) for process in self.processes)


def _cpu_s(pid: int) -> float:
    # proc(5): fields 14 and 15, counted after the command, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def system() -> Generator[System]:
    """Run a server and a worker on an empty database."""
    grpc_address, http_address = (f"127.0.0.1:{_free_port()}" for _ in range(2))
    command = [sys.executable, "-m", "perdure_cli"]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("ab") as log:
        database = f"sqlite:///{folder}/perdure.db"
        started: list[subprocess.Popen[bytes]] = []
        for arguments in (
            ["server", "--db", database, "--grpc", grpc_address, "--http", http_address],
            ["worker", str(FUNCTIONS), "--server", grpc_address, "--slots", "256"],
        ):
            started.append(subprocess.Popen([*command, *arguments], stdout=log, stderr=log))
            _wait_healthy(http_address)
        try:
            yield System(grpc_address, tuple(started))
        finally:
            for process in started:
                process.kill()
                process.wait()


def _wait_healthy(address: str) -> None:
    until_s = time.monotonic() + START_S_MAX
    while True:
        connection = http.client.HTTPConnection(address, timeout=1)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        if time.monotonic() > until_s:
            raise TimeoutError(f"the server at {address} is not healthy")
        time.sleep(POLL_S)


async def _wait_registered(client: AsyncClient) -> None:
    """Wait until the worker has registered its functions."""
    until_s = time.monotonic() + START_S_MAX
    while not await client.list_functions():
        if time.monotonic() > until_s:
            raise TimeoutError("no worker has registered a function")
        await asyncio.sleep(POLL_S)


async def _measured(
    name: str, unit_count: Callable[[], int], running: System, work: Work
) -> Figures:
    """Run `work` once; return units a second, and CPU-milliseconds of server and worker each."""
    cpu_s, began_s = running.cpu_s(), time.monotonic()
    await work()
    elapsed_s, used_s = time.monotonic() - began_s, running.cpu_s() - cpu_s
    count = unit_count()
    return {f"{name}, per s": count / elapsed_s, f"{name}, CPU-ms": 1_000 * used_s / count}


async def _repeated(name: str, count: int, running: System, work: Work) -> Figures:
    """Run `work`, which does `count` units, once to warm up and then a few times."""

    async def repeats() -> None:
        for _ in range(REPEATS):
            await work()

    await work()
    return await _measured(name, lambda: REPEATS * count, running, repeats)


async def _closed_loop(name: str, running: System, callers: int, work: Work) -> Figures:
    done = 0
    until_s = time.monotonic() + MEASURED_S

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < until_s:
            await work()
            done += 1

    async def all_callers() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    return await _measured(f"{name}, {callers} callers", lambda: done, running, all_callers)


async def _alone(name: str, work: Work) -> Figures:
    seconds: list[float] = []
    for _ in range(ALONE):
        began_s = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began_s)
    return {f"{name}, p50 ms": 1_000 * statistics.median(seconds)}


async def _waits(client: AsyncClient, function: str) -> Figures:
    until_s = time.time() + ASLEEP_S

    async def lateness_ms() -> float:
        arn = (await client.start(function, until_s)).execution_arn
        await client.wait(arn)
        history = {event.event_type: event async for event in client.history(arn)}
        due_ms = history["WaitStarted"].wire.scheduled_end_timestamp.ToMilliseconds()
        woken_ms = history["WaitSucceeded"].wire.event_timestamp.ToMilliseconds()
        return float(woken_ms - due_ms)

    late_ms = await asyncio.gather(*(lateness_ms() for _ in range(WAITS)))
    cuts = statistics.quantiles(late_ms, n=100)
    name = f"W4 {WAITS:,} waits due together, lateness"
    return {f"{name} p50 ms": cuts[49], f"{name} p99 ms": cuts[98]}


async def _callbacks(client: AsyncClient, function: str) -> Figures:
    seconds: list[float] = []
    for _ in range(CALLBACKS):
        arn = (await client.start(function)).execution_arn
        callback_id = ""
        async for event in client.follow(arn):
            callback_id = event.callback_id or callback_id
            if event.event_type == "InvocationCompleted":
                break
        began_s = time.perf_counter()
        await client.succeed_callback(callback_id, result_text="yes")
        await client.wait(arn)
        seconds.append(time.perf_counter() - began_s)
    return {"W5 callback to end, p50 ms": 1_000 * statistics.median(seconds)}


async def _workloads(client: AsyncClient, running: System, suffix: str) -> Figures:
    def run(function: str, event: object) -> Work:
        return lambda: client.run(f"{function}{suffix}", event)

    three_steps = run("steps", 3)
    await three_steps()
    figures: Figures = {}
    for callers in (64, 256):
        figures |= await _closed_loop("W1 3-step execution", running, callers, three_steps)
    figures |= await _alone("W2 3-step execution alone", three_steps)
    many_steps = run("steps", STEPS)
    figures |= await _repeated("W3 step of 1,000", STEPS, running, many_steps)
    figures |= await _waits(client, f"rising{suffix}")
    figures |= await _callbacks(client, f"asking{suffix}")
    mapping = run("mapping", ITEMS)
    figures |= await _repeated("W6 item of a map over 1,000", ITEMS, running, mapping)
    return figures


def _commit_ms() -> float:
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        with contextlib.closing(database):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE facts (body BLOB)")
            began_s = time.perf_counter()
            for _ in range(COMMITS):
                database.execute("INSERT INTO facts VALUES (?)", (bytes(300),))
            return 1_000 * (time.perf_counter() - began_s) / COMMITS


async def main() -> None:
    """Run the workloads with ordinary handlers, then with async ones."""
    figures: Figures = {"raw: durable commit of one row, ms": _commit_ms()}
    with system() as running:
        async with AsyncClient(running.address) as client:
            await _wait_registered(client)
            for kind, suffix in (("sync", ""), ("async", "_async")):
                found = await _workloads(client, running, suffix)
                figures |= {f"{kind}: {name}": value for name, value in found.items()}
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
