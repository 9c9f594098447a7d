"""The number of commits for an execution, counted by the server that makes them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.system.processes import ROOT, Machine

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
TOGETHER: Final = 64
COMMITS_ALONE_MAX: Final = 5


@pytest.fixture
def place(db_url: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a database of each kind, which serves the small functions."""
    with Machine(tmp_path, db_url) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("three_steps")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def commits(machine: Machine) -> float:
    """Return how many commits there were."""
    return machine.metrics().value("perdure_commits_total")


def test_three_steps_alone_cost_at_most_5_commits(
    place: Machine, record_property: Callable[[str, object], None]
) -> None:
    with place.client() as client:
        client.run("three_steps", 0)
        before = commits(place)
        assert client.run("three_steps", 0) == 3
    cost = commits(place) - before
    record_property("figures", f"a 3-step execution alone: {cost:.0f} commits")
    assert cost <= COMMITS_ALONE_MAX


def test_executions_that_run_together_share_commits(
    place: Machine, record_property: Callable[[str, object], None]
) -> None:
    async def run_together() -> list[int]:
        async with place.async_client() as client:
            runs = (client.run("three_steps", number) for number in range(TOGETHER))
            results: list[int] = await asyncio.gather(*runs)
            return results

    before = commits(place)
    assert asyncio.run(run_together()) == [number + 3 for number in range(TOGETHER)]
    cost = (commits(place) - before) / TOGETHER
    record_property("figures", f"{TOGETHER} 3-step executions together: {cost:.2f} commits each")
    assert cost <= COMMITS_ALONE_MAX / 2
