"""Crashes of a node before and after each of its commits, and failures of each commit."""

from typing import Literal

import pytest

from tests.history.checks import check_outcomes
from tests.history.driver import Driver
from tests.history.scripted import Callback, Invoke, Ledger, Script, ScriptedWorker, Step, Wait
from tests.history.simulation import Simulation
from tests.store.faulty_store import Fate

SCRIPTS: dict[str, Script] = {
    "order": (
        Step("a"),
        Step("once", at_most_once=True),
        Wait("w", ms=2_000),
        Step("flaky", fails=1),
        Callback("approve"),
        Invoke("ship"),
        Step("z"),
    ),
    "child": (Step("pack"), Wait("rest", ms=1_000)),
}
# As many as the whole takes when nothing goes wrong, and a few more.
COMMITS = 32


async def run_order(
    simulation: Simulation,
    *,
    cut_at: tuple[int, Literal["before", "after"]] | None,
    fates: list[Fate],
) -> Driver:
    """Run one order to its end; a node starts with what is to go wrong."""
    simulation.host.crash()
    await simulation.open(fates, cut_at=cut_at)
    ledger = Ledger()
    worker = ScriptedWorker(simulation, SCRIPTS, ledger=ledger)
    driver = Driver(simulation, [worker], ledger)
    await driver.start("n")
    await driver.pause_and_resume("n")
    await driver.finish()
    check_outcomes(simulation, SCRIPTS, ledger)
    return driver


async def test_an_order_takes_about_thirty_commits_when_nothing_goes_wrong() -> None:
    async with Simulation() as simulation:
        driver = await run_order(simulation, cut_at=None, fates=[])
        assert driver.restarts == 0
        assert 15 <= simulation.host.link.commits <= COMMITS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", list(range(2, COMMITS)))
async def test_an_order_survives_a_crash_at_any_commit(
    commit: int, when: Literal["before", "after"]
) -> None:
    async with Simulation() as simulation:
        await run_order(simulation, cut_at=(commit, when), fates=[])


@pytest.mark.parametrize("fate", ["refused", "unknown_written", "unknown_lost", "unknown_late"])
@pytest.mark.parametrize("commit", list(range(COMMITS - 1)))
async def test_an_order_survives_a_failure_of_any_commit(commit: int, fate: Fate) -> None:
    async with Simulation() as simulation:
        before = simulation.history.incarnation
        driver = await run_order(simulation, cut_at=None, fates=[*_written(commit), fate])
        assert driver.restarts == 0
        renewed = simulation.history.incarnation - before - 1
        assert renewed == (0 if fate == "refused" else 1) or simulation.host.link.commits <= commit


def _written(commits: int) -> list[Fate]:
    return ["written"] * commits
