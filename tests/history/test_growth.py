"""Long histories: their room, the warning at half of it, and folding them in slices."""

import asyncio

import pytest

from perdure_core import limits
from perdure_core.refusals import Invalid
from perdure_history.settings import HistorySettings
from perdure_host.services import key_of
from tests.history.manual_worker import Invocation, ManualWorker, update
from tests.history.simulation import Simulation, inside

RECORDS_MAX = 80
WARNING = "has used half of its room"


async def begun(simulation: Simulation) -> tuple[ManualWorker, Invocation]:
    """Return a worker that holds an invocation with an open callback."""
    worker = ManualWorker(simulation)
    await simulation.start("n")
    invocation = await worker.take()
    await invocation.checkpoint(update("CALLBACK", "START", "cb", heartbeat_timeout_s=1_000))
    return worker, invocation


async def fill(invocation: Invocation) -> int:
    """Record steps until one is refused; return how many were recorded."""
    for number in range(RECORDS_MAX):
        try:
            await invocation.step(f"s{number}", '"a result of some bytes"')
        except Invalid:
            return number
    raise AssertionError("nothing was refused")


async def test_what_lets_a_history_grow_is_refused_before_its_limit_and_its_end_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "HISTORY_RECORDS_MAX", RECORDS_MAX)
    async with Simulation() as simulation:
        _, invocation = await begun(simulation)
        arn = invocation.offer.arn
        for number in range(37):
            await invocation.step(f"early-{number}")
        assert WARNING not in capsys.readouterr().out
        await fill(invocation)
        assert capsys.readouterr().out.count(WARNING) == 1
        counted = simulation.metrics.registry.get_sample_value
        assert counted("perdure_histories_half_full_total") == 1
        assert len(simulation.records(key_of(arn))) == RECORDS_MAX * 7 // 8
        with pytest.raises(Invalid, match=r"at most 80 records, got 70; .* chained invoke"):
            await invocation.step("late")
        details = (await simulation.history.queries.describe(arn)).operations["cb"].details
        callback_id = inside(details).callback_id
        commands = simulation.history.commands
        simulation.clock.advance(500_000)
        with pytest.raises(Invalid, match="at most 80 records"):
            await commands.heartbeat_callback(callback_id)
        with pytest.raises(Invalid, match="at most 80 records"):
            await commands.pause(arn, reason=None, timeout_paused=True)
        # Everything may come to its end.
        await commands.succeed_callback(callback_id, "1")
        await invocation.complete("SUCCEEDED")
        assert (await simulation.history.queries.describe(arn)).status == "SUCCEEDED"
        assert len(simulation.records(key_of(arn))) < RECORDS_MAX
        await commands.delete(arn)


async def test_a_history_has_a_limit_in_bytes_which_counts_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HISTORY_BYTES_MAX", 8_000)
    async with Simulation() as simulation:
        _, invocation = await begun(simulation)
        recorded = await fill(invocation)
        key = key_of(invocation.offer.arn)
        stored = inside(simulation.memory)._records[key]
        assert recorded > 10
        assert 7_000 <= sum(len(record.body) for record in stored) < 8_000
        await simulation.restart()
        worker = ManualWorker(simulation, "second")
        await worker.claim(invocation)
        with pytest.raises(Invalid, match="at most 8,000 bytes"):
            await invocation.step("late")
        await invocation.complete("FAILED")
        assert (await simulation.history.queries.describe(invocation.offer.arn)).status == "FAILED"


async def test_a_long_history_is_folded_in_slices_and_others_go_on_in_between() -> None:
    """Turns of the loop count, not time."""
    async with Simulation(HistorySettings(cache_executions_max=1)) as simulation:
        _, invocation = await begun(simulation)
        for number in range(200):
            await invocation.step(f"s{number}", '"' + "x" * 2_000 + '"')
        await invocation.complete()
        await simulation.restart()
        reading = asyncio.ensure_future(simulation.history.queries.describe(invocation.offer.arn))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 6
        assert len((await reading).operations) == 201


async def test_a_node_that_reloads_while_it_folds_serves_what_is_stored_now() -> None:
    async with Simulation() as simulation:
        _, invocation = await begun(simulation)
        for number in range(100):
            await invocation.step(f"s{number}", '"' + "x" * 2_000 + '"')
        await simulation.restart()
        reading = asyncio.ensure_future(simulation.history.queries.describe(invocation.offer.arn))
        for _ in range(4):
            await asyncio.sleep(0)
        loads = simulation.host.link.loads
        inside(simulation.history)._executions._cache.clear()
        state = await reading
        assert simulation.host.link.loads == loads + 1
        assert len(state.operations) == 101
