"""A server that is killed while a worker runs thousands of executions, beside one that is idle."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, wait_until
from tests.system.waiting_program import FILE_VARIABLE

PROGRAM = ROOT / "tests" / "system" / "waiting_program.py"
COUNT = 1_000
STARTS_AT_A_TIME = 100


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose functions wait for the file `go`."""
    environment = {
        LEDGER_VARIABLE: str(tmp_path / "ledger"),
        FILE_VARIABLE: str(tmp_path / "go"),
    }
    with Machine(tmp_path, environment=environment) as machine:
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


async def start_all(machine: Machine) -> list[str]:
    """Start the executions; every other one has a step that runs at most once."""
    slots = asyncio.Semaphore(STARTS_AT_A_TIME)

    async with machine.async_client() as client:

        async def start(number: int) -> str:
            async with slots:
                return (await client.start("waiting", {"once": number % 2 == 0})).execution_arn

        return await asyncio.gather(*(start(number) for number in range(COUNT)))


async def results(machine: Machine, arns: list[str]) -> Counter[str | None]:
    """Return how often each result came."""
    async with machine.async_client() as client:
        ends = [await client.wait(arn, timeout_s=60) for arn in arns]
    return Counter(end.result for end in ends)


def test_none_is_interrupted_and_none_runs_twice(machine: Machine) -> None:
    machine.start_server()
    machine.start_worker(PROGRAM, slots=COUNT)
    machine.wait_for_worker("waiting")
    arns = asyncio.run(start_all(machine))
    reader = Reader(machine.folder / "ledger")
    runs: Counter[str] = Counter()

    def have_begun() -> bool:
        runs.update(entry.order for entry in reader.new())
        return len(runs) == COUNT

    wait_until(have_begun, "all steps have begun")
    machine.start_worker(PROGRAM, name="idle", slots=COUNT)
    machine.kill("server")
    machine.start_server()
    # What is offered from here on is offered after the time for claims.
    later = asyncio.run(start_all(machine))
    wait_until(lambda: have_begun() or len(runs) == 2 * COUNT, "later ones have begun")
    (machine.folder / "go").touch()
    assert asyncio.run(results(machine, arns + later)) == {"waited": 2 * COUNT}
    runs.update(entry.order for entry in reader.new())
    assert set(runs.values()) == {1}
    assert machine.metrics().value("perdure_invocations_total", outcome="lost") == 0
