"""Crashes of a node before and after each of its commits, and failures of each commit."""

from typing import Literal

import pytest

from tests.history.checks import check_outcomes
from tests.history.drive import Driver
from tests.history.scripted import Callback, Invoke, Ledger, Script, ScriptedWorker, Step, Wait
from tests.history.world import World
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
    world: World, *, cut_at: tuple[int, Literal["before", "after"]] | None, fates: list[Fate]
) -> Driver:
    """Run one order to its end; a node starts with what is to go wrong."""
    world.host.crash()
    await world.open(fates, cut_at=cut_at)
    ledger = Ledger()
    worker = ScriptedWorker(world, SCRIPTS, ledger=ledger)
    driver = Driver(world, [worker], ledger)
    await driver.start("n")
    await driver.pause_and_resume("n")
    await driver.finish()
    check_outcomes(world, SCRIPTS, ledger)
    return driver


async def test_an_order_takes_about_thirty_commits_when_nothing_goes_wrong() -> None:
    async with World() as world:
        driver = await run_order(world, cut_at=None, fates=[])
        assert driver.restarts == 0
        assert 15 <= world.host.link.commits <= COMMITS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", list(range(2, COMMITS)))
async def test_an_order_survives_a_crash_at_any_commit(
    commit: int, when: Literal["before", "after"]
) -> None:
    async with World() as world:
        await run_order(world, cut_at=(commit, when), fates=[])


@pytest.mark.parametrize("fate", ["refused", "unknown_written", "unknown_lost", "unknown_late"])
@pytest.mark.parametrize("commit", list(range(COMMITS - 1)))
async def test_an_order_survives_a_failure_of_any_commit(commit: int, fate: Fate) -> None:
    async with World() as world:
        before = world.history.incarnation
        driver = await run_order(world, cut_at=None, fates=[*_written(commit), fate])
        assert driver.restarts == 0
        renewed = world.history.incarnation - before - 1
        assert renewed == (0 if fate == "refused" else 1) or world.host.link.commits <= commit


def _written(commits: int) -> list[Fate]:
    return ["written"] * commits
