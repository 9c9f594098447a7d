"""Async functions on a real server and in real workers, which are killed meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from perdure import AsyncClient
from tests.system.ledger import LEDGER_VARIABLE
from tests.system.processes import ROOT, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "async_programs.py"
COUNT: Final = 5
END_S_MAX: Final = 60.0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that serves the async functions."""
    with Machine(tmp_path, environment={LEDGER_VARIABLE: str(tmp_path / "ledger")}) as machine:
        machine.start_server()
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def test_an_async_execution_survives_its_workers(machine: Machine) -> None:
    machine.start_worker(PROGRAMS)
    with machine.client() as client:
        machine.wait_for_worker("gathering")
        arn = client.start("gathering", {"order": "one", "count": COUNT}).execution_arn
        wait_until(lambda: len(client.get(arn).open_callbacks) == 1, "it asks")
        machine.kill("worker")
        machine.start_worker(PROGRAMS)
        (callback,) = client.get(arn).open_callbacks
        client.succeed_callback(callback.callback_id, 100)
        assert client.result(arn, timeout_s=END_S_MAX) == sum(range(COUNT)) + 100
        kinds = [event.event_type for event in client.history(arn)]
        assert kinds.count("StepSucceeded") == COUNT + 1
        assert kinds[-1] == "ExecutionSucceeded"


def test_many_async_executions_share_a_worker(machine: Machine) -> None:
    machine.start_worker(PROGRAMS)
    machine.wait_for_worker("doubling")

    async def play() -> list[object]:
        async with machine.async_client() as client:
            return await run_all(client)

    async def run_all(client: AsyncClient) -> list[object]:
        return list(await asyncio.gather(*(client.run("doubling", 4) for _ in range(20))))

    assert asyncio.run(play()) == [8] * 20
