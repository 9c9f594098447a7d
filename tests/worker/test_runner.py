"""The worker as a process sees it: tokens, metrics, settings."""

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from perdure_host.access.host_names import HostNames
from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_host.listen import Address
from perdure_worker.metrics.server import MetricsPort
from perdure_worker.runner import WorkerSettings, run_worker
from tests.worker.peer import Peer, invocation
from tests.worker.scenario import one_step, play, working


def test_the_session_bears_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n", encoding="utf-8")

    async def scenario() -> None:
        async with Peer() as peer:
            connection = ConnectionSettings(server=f"127.0.0.1:{peer.port}", token_file=str(token))
            async with working(peer, one_step(), connection=connection) as worker:
                broken = await peer.next_stream()
                assert ("authorization", "Bearer secret") in broken.metadata
                await broken.register()
                await broken.deliver(invocation(1, event='{"number": 1}'))
                await broken.expect_call("checkpoints")
                broken.end()
                stream = await peer.next_stream()
                await stream.register()
                await stream.accept(await stream.expect_call("checkpoints"), "t2")
                await stream.confirm(await stream.expect_call("completions"))
                await stream.expect_credits(2)
                worker.stop.set()
                await stream.expect_close()
                assert await worker.wait_exit() == 0

    play(scenario)


def test_a_wrong_token_ends_the_worker(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("wrong\n", encoding="utf-8")

    async def scenario() -> None:
        async with Peer() as peer:
            connection = ConnectionSettings(server=f"127.0.0.1:{peer.port}", token_file=str(token))
            async with working(peer, one_step(), connection=connection) as worker:
                (await peer.next_stream()).end(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
                assert await worker.wait_exit() == 1

    play(scenario)


def test_a_missing_token_file_ends_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        settings = WorkerSettings(connection=ConnectionSettings(token_file="/nowhere/token"))
        assert await run_worker([one_step()], settings, stop=asyncio.Event()) == 1
        assert "/nowhere/token" in caplog.text

    play(scenario)


def test_metrics_are_served_while_the_worker_runs() -> None:
    async def scenario() -> None:
        with taken_port() as port:
            pass
        async with Peer() as peer:
            async with working(
                peer,
                one_step(),
                slots=3,
                metrics=MetricsPort(Address("127.0.0.1", port), HostNames("127.0.0.1")),
            ):
                await (await peer.next_stream()).register()
                assert "perdure_worker_slots 3.0" in await asyncio.to_thread(read_metrics, port)
            with pytest.raises(urllib.error.URLError):
                await asyncio.to_thread(read_metrics, port)

    play(scenario)


def test_a_taken_metrics_port_ends_the_worker() -> None:
    async def scenario() -> None:
        with taken_port() as port:
            metrics = MetricsPort(Address("127.0.0.1", port), HostNames("127.0.0.1"))
            settings = WorkerSettings(connection=ConnectionSettings(), metrics=metrics)
            with pytest.raises(SettingsError, match=f"cannot serve metrics on 127.0.0.1:{port}"):
                await run_worker([one_step()], settings, stop=asyncio.Event())

    play(scenario)


@pytest.mark.parametrize("slots", [0, 10_001])
def test_slots_have_bounds(slots: int) -> None:
    with pytest.raises(SettingsError, match="slots must be 1 to 10,000"):
        WorkerSettings(connection=ConnectionSettings(), slots=slots)


@pytest.mark.parametrize("worker_id", ["", "a b", "x" * 129])
def test_a_worker_id_has_a_form(worker_id: str) -> None:
    with pytest.raises(SettingsError, match="a worker id is 1 to 128 characters"):
        WorkerSettings(connection=ConnectionSettings(), worker_id=worker_id)


@contextmanager
def taken_port() -> Generator[int, None, None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def read_metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read(), "utf-8")
