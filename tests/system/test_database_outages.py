"""PostgreSQL restarts, drops its connections, and is away for longer than a lease, under load.

A standby is present all the time. Nothing that was acknowledged may be lost, no server may end, and
the node that served before must serve afterwards.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import grpc
import httpx
import pytest

from benchmarks.outages import BEGIN, END, drop_connections, lines
from perdure import Client
from perdure.client.errors import UnavailableError
from perdure_proto.v1 import client_pb2, client_pb2_grpc
from tests.postgres import PostgresServer, postgres_server
from tests.system.processes import ROOT, START_S_MAX, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
LEASE_S: Final = 10.0
CALLERS: Final = 8


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


class Load:
    """Callers that start executions, one after the other, and note those that were acknowledged."""

    def __init__(self, machine: Machine) -> None:
        self.arns: list[str] = []
        self._machine = machine
        self._stop = threading.Event()
        self._callers = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]

    def __enter__(self) -> Self:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()

    def wait_for_more(self) -> None:
        """Wait until some more are acknowledged."""
        enough = len(self.arns) + 5 * CALLERS
        wait_until(lambda: len(self.arns) >= enough, "executions are started")

    def _call(self, number: int) -> None:
        with Client(self._machine.server_address, patience_s=START_S_MAX) as client:
            count = 0
            while not self._stop.is_set():
                count += 1
                started = client.start("three_steps", number, name=f"n{number}-{count}")
                self.arns.append(started.execution_arn)


def answers(machine: Machine, path: str) -> int:
    try:
        return machine.http(path).status_code
    except httpx.HTTPError:
        return 0


def wait_ready(machine: Machine, code: int) -> None:
    """Wait for what readiness says; liveness is the same all the time."""

    def is_so() -> bool:
        machine.check()
        assert answers(machine, "/healthz/live") == 200
        return answers(machine, "/healthz/ready") == code

    wait_until(is_so, f"readiness is {code}")


def test_outages_lose_nothing_and_depose_nobody(tmp_path: Path, database: PostgresServer) -> None:
    url = database.create_database()
    folders = [tmp_path / name for name in ("live", "standby")]
    for folder in folders:
        folder.mkdir()
    with Machine(folders[0], url) as live, Machine(folders[1], url) as standby:
        live.start_server("--node-name", "live")
        standby.start_server("--node-name", "standby", ready=False)
        live.start_worker(PROGRAMS)
        live.wait_for_worker("three_steps")
        wait_until(lambda: lines(standby, "standing by") == 1, "the other node stands by")
        with Load(live) as load:
            load.wait_for_more()
            drop_connections(database)
            load.wait_for_more()
            drops = lines(live, BEGIN)
            # Away for longer than the lease: no node could renew it.
            database.kill()
            wait_ready(live, 503)
            went_s = time.monotonic()
            body = live.http("/healthz/ready").json()
            assert body["status"] == "cut-off"
            assert "the database" in body["reason"]
            wait_until(lambda: time.monotonic() > went_s + LEASE_S + 1, "the lease has lapsed")
            assert lines(live, BEGIN) == drops + 1
            database.start()
            wait_ready(live, 200)
            load.wait_for_more()
            wait_until(lambda: lines(standby, "the database is back") == 1, "the standby noticed")
        with live.client() as client:
            for arn in load.arns:
                assert client.wait(arn, timeout_s=60) is not None
        assert lines(live, BEGIN) == lines(live, END) == drops + 1
        assert lines(standby, "the database is away; waiting") <= 2
        assert answers(standby, "/healthz/ready") == 503
        assert answers(standby, "/healthz/live") == 200
        live.check()
        standby.check()


def test_callers_learn_of_an_outage_at_once(tmp_path: Path, database: PostgresServer) -> None:
    with Machine(tmp_path, database.create_database()) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("three_steps")
        with (
            Client(machine.server_address, patience_s=0) as client,
            grpc.insecure_channel(machine.server_address) as channel,
        ):
            arn = client.start("sleeper", {"seconds": 3_600}).execution_arn
            # The stub's own types are those of asynchronous channels too.
            stub: Any = client_pb2_grpc.ExecutionServiceStub(channel)
            request = client_pb2.GetExecutionRequest(execution_arn=arn, wait_ms=60_000)
            waiting = stub.GetExecution.future(request, timeout=START_S_MAX)
            database.kill()
            wait_ready(machine, 503)
            refusal = waiting.exception()
            assert refusal.code() is grpc.StatusCode.UNAVAILABLE
            assert dict(refusal.trailing_metadata())["retry-after"] == "1"
            with pytest.raises(UnavailableError, match="database"):
                client.get(arn)
        answer = machine.http("/2015-03-31/functions/three_steps")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        database.start()
        wait_ready(machine, 200)
        with machine.client() as client:
            assert client.run("three_steps", 0) == 3
        machine.check()


def test_a_server_that_starts_without_its_database_waits_for_it(
    tmp_path: Path, database: PostgresServer
) -> None:
    url = database.create_database()
    database.kill()
    with Machine(tmp_path, url) as machine:
        machine.start_server(ready=False)
        wait_until(lambda: lines(machine, "the database is away; waiting") == 1, "it waits")
        wait_ready(machine, 503)
        database.start()
        wait_ready(machine, 200)
        assert lines(machine, "the database is away; waiting") == 1
        assert lines(machine, "the database is back") == 1
