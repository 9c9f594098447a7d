"""Bounds of the execution cache."""

import asyncio

import pytest

from perdure_core.refusals import Unknown
from perdure_history.settings import HistorySettings
from perdure_host.metrics import ServerMetrics
from tests.history.checks import check_outcomes
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker
from tests.history.scripted import Script, ScriptedWorker, Step, Wait
from tests.history.simulation import Simulation, inside


def gauge(metrics: ServerMetrics, name: str) -> float:
    value = metrics.registry.get_sample_value(name)
    assert value is not None
    return value


async def test_a_cache_of_ten_serves_a_thousand_executions() -> None:
    scripts: dict[str, Script] = {"order": (Step("a"), Wait("w", ms=3_000), Step("b"))}
    async with Simulation(HistorySettings(cache_executions_max=10)) as simulation:
        worker = ScriptedWorker(simulation, scripts, slots=40)
        await asyncio.gather(*(simulation.start(f"n{n}") for n in range(1_000)))
        for _ in range(60):
            await simulation.pass_ms(500)
            # What is being committed has to stay; everything else goes.
            assert gauge(simulation.metrics, "perdure_cache_executions") <= 10
        assert {row.status for row in simulation.rows()} == {"SUCCEEDED"}
        check_outcomes(simulation, scripts, worker.ledger)
        assert simulation.host.link.loads > 1_000


async def test_the_cache_is_bounded_in_bytes_too() -> None:
    async with Simulation(HistorySettings(cache_bytes_max=200_000)) as simulation:
        for n in range(20):
            await simulation.start(f"n{n}", input='"' + "x" * 16_000 + '"')
        assert 0 < gauge(simulation.metrics, "perdure_cache_bytes") <= 200_000
        assert gauge(simulation.metrics, "perdure_cache_executions") < 5


async def test_what_is_cached_is_counted_with_its_growth_and_let_go_of() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        before = gauge(simulation.metrics, "perdure_cache_bytes")
        invocation = await worker.take()
        await invocation.step("a", '"' + "x" * 10_000 + '"')
        assert gauge(simulation.metrics, "perdure_cache_bytes") > before + 30_000
        await invocation.complete("SUCCEEDED")
        await simulation.history.commands.delete(arn)
        await simulation.pass_ms(10_000)
        assert gauge(simulation.metrics, "perdure_cache_bytes") == 0


async def test_what_is_not_committed_is_never_evicted() -> None:
    async with Simulation(HistorySettings(cache_executions_max=1)) as simulation:
        worker = ManualWorker(simulation)
        arns = [await simulation.start() for _ in range(3)]
        invocation = await worker.take()
        await invocation.step("a")
        simulation.host.link.gate.clear()
        deciding = asyncio.ensure_future(invocation.step("b"))
        await settle()
        # The commit is under way; others would like to have the room.
        for arn in arns[1:]:
            await simulation.history.queries.describe(arn)
        looking = asyncio.ensure_future(simulation.history.queries.describe(arns[0]))
        await settle()
        assert not looking.done()
        simulation.host.link.gate.set()
        await deciding
        assert list((await looking).operations) == ["a", "b"]


async def test_an_execution_is_read_once_however_many_ask() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        await simulation.restart()
        loads = simulation.host.link.loads
        states = await asyncio.gather(
            *(simulation.history.queries.describe(arn) for _ in range(50))
        )
        assert simulation.host.link.loads == loads + 1
        assert len({id(state) for state in states}) == 1


async def test_more_executions_asked_for_than_fit_are_read_once_each() -> None:
    async with Simulation(HistorySettings(cache_executions_max=3)) as simulation:
        arns = [await simulation.start() for _ in range(100)]
        await simulation.restart()
        states = await asyncio.gather(*(simulation.history.queries.describe(arn) for arn in arns))
        assert len({state.execution_id for state in states}) == 100
        assert simulation.host.link.loads == 100


async def test_one_who_asked_and_went_away_takes_nothing_from_the_others() -> None:
    async with Simulation(HistorySettings(cache_executions_max=1)) as simulation:
        arn, other = await simulation.start("n"), await simulation.start("m")
        await simulation.restart()
        leaving = asyncio.ensure_future(simulation.history.queries.describe(arn))
        staying = asyncio.ensure_future(simulation.history.queries.describe(arn))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).name == "n"
        await simulation.history.queries.describe(other)
        cached = inside(simulation.history)._executions._cache._executions.values()
        assert [(each.state.name, each.readers) for each in cached] == [("m", 0)]


async def test_asking_for_what_is_not_there_leaves_nothing_behind() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        nowhere = arn[:-4] + "ffff"
        for _ in range(3):
            with pytest.raises(Unknown):
                await simulation.history.queries.describe(nowhere)
        leaving = asyncio.ensure_future(simulation.history.queries.describe(nowhere))
        await asyncio.sleep(0)
        leaving.cancel()
        await settle()
        with pytest.raises(Unknown):
            await simulation.history.queries.describe(arn.replace("/n/", "/m/"))
