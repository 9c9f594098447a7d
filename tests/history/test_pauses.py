"""Pause, resume and stop, whatever runs meanwhile."""

import asyncio

import pytest

from perdure_core.refusals import Ended, NotEnded, StaleToken
from perdure_host.services import key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.simulation import Simulation


async def test_a_pause_of_what_does_not_run_is_there_at_once() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        assert (
            await simulation.history.commands.pause(arn, reason="why", timeout_paused=True)
            == "PAUSED"
        )
        worker = ManualWorker(simulation)
        await settle()
        for task in worker.tasks:
            assert await simulation.history.invocations.begin(task.key, "worker-1") is None
        worker.tasks.clear()
        assert await simulation.history.commands.resume(arn, reason=None) == "RUNNING"
        await (await worker.take()).complete("SUCCEEDED")


async def test_a_pause_waits_for_the_invocation_that_runs() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        assert (
            await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
            == "PAUSING"
        )
        assert (await invocation.checkpoint(update("WAIT", "START", "w"))).token == ""
        assert (await simulation.history.queries.describe(arn)).status == "PAUSING"
        await simulation.history.commands.resume(arn, reason=None)
        assert (await simulation.history.queries.describe(arn)).status == "RUNNING"


async def test_a_pause_asked_for_while_the_execution_is_read_knows_what_runs() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await simulation.restart()
        worker.attach()
        await simulation.pass_ms(simulation.settings.claim_wait_ms)
        # Both read the execution; the invocation is handed out first.
        handing_out = asyncio.ensure_future(worker.begin_for(arn))
        pausing = asyncio.ensure_future(
            simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        )
        invocation = await handing_out
        assert invocation is not None
        assert await pausing == "PAUSING"
        await invocation.checkpoint(update("STEP", "START", "a"))


async def test_a_pause_begins_though_the_node_forgot_what_was_handed_out() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        assert (
            await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
            == "PAUSING"
        )
        await simulation.restart()
        await simulation.pass_ms(simulation.settings.claim_wait_ms)
        assert (await simulation.history.queries.describe(arn)).status == "PAUSED"
        with pytest.raises(StaleToken):
            await invocation.step("a")
        await simulation.history.commands.resume(arn, reason=None)
        worker.attach()
        await (await worker.take()).complete("SUCCEEDED")


async def test_a_pause_begins_when_the_invocation_is_lost() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await (await worker.take()).step("a")
        await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(2_000)
        await losing
        assert (await simulation.history.queries.describe(arn)).status == "PAUSED"


async def test_a_pause_waits_for_an_invocation_that_is_claimed_after_a_crash() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        await simulation.restart()
        assert await worker.claim(invocation)
        await simulation.pass_ms(5_000)
        assert (await simulation.history.queries.describe(arn)).status == "PAUSING"
        await invocation.step("a")


async def test_what_time_makes_due_during_a_pause_is_seen_after_it() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("WAIT", "START", "w"))
        await invocation.complete()
        await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        await simulation.pass_ms(5_000)
        assert await worker.is_idle()
        await simulation.history.commands.resume(arn, reason=None)
        second = await worker.take()
        assert second.offer.updated_operation_ids == ("w",)


async def test_stopping_ends_at_once_and_again_says_the_same() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        ended_ms = await simulation.history.commands.stop(arn, None)
        simulation.clock.advance(5)
        assert await simulation.history.commands.stop(arn, None) == ended_ms
        with pytest.raises(StaleToken):
            await invocation.step("a")
        with pytest.raises(Ended):
            await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        assert simulation.events(key_of(arn)) == ["ExecutionStarted", "ExecutionStopped"]


async def test_only_what_has_ended_can_be_deleted() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        with pytest.raises(NotEnded):
            await simulation.history.commands.delete(arn)
