"""Group commits: how many there are, and what follows when one fails."""

import asyncio

import pytest

from perdure_core.refusals import StaleToken
from perdure_host.errors import (
    CommitUnknown,
    DatabaseAway,
    Fenced,
    StoreError,
    StoreUnavailable,
)
from perdure_host.services import CheckpointAnswer, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.scripted import ScriptedWorker, Step
from tests.history.simulation import Simulation, inside
from tests.store.faulty_store import Fate

THREE_STEPS = (Step("a"), Step("b"), Step("c"))


async def test_three_steps_alone_cost_five_commits() -> None:
    async with Simulation() as simulation:
        ScriptedWorker(simulation, {"order": THREE_STEPS})
        before = simulation.host.link.commits
        arn = await simulation.start("n")
        await settle()
        assert (await simulation.history.queries.describe(arn)).status == "SUCCEEDED"
        assert simulation.host.link.commits - before <= 5


async def test_executions_that_run_together_share_commits() -> None:
    async with Simulation() as simulation:
        ScriptedWorker(simulation, {"order": THREE_STEPS})
        before = simulation.host.link.commits
        await asyncio.gather(*(simulation.start(f"n{n}") for n in range(64)))
        await settle()
        assert {row.status for row in simulation.rows()} == {"SUCCEEDED"}
        assert (simulation.host.link.commits - before) / 64 < 0.5


async def test_a_commit_holds_no_more_than_its_bound() -> None:
    async with Simulation() as simulation:
        before = simulation.host.link.commits
        await asyncio.gather(*(simulation.start() for _ in range(2_500)))
        assert simulation.host.link.commits - before == 3
        assert len(simulation.rows()) == 2_500


async def test_what_was_decided_over_a_failed_commit_fails_too() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        simulation.host.link.script("refused")
        checkpoint = asyncio.ensure_future(invocation.step("b"))
        await asyncio.sleep(0)
        pause = asyncio.ensure_future(
            simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        )
        results = await asyncio.gather(checkpoint, pause, return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable, DatabaseAway]
        await settle()
        state = await simulation.history.queries.describe(arn)
        assert (list(state.operations), state.status) == (["a"], "RUNNING")


async def test_a_repeat_of_what_failed_is_accepted_as_if_it_came_first() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        simulation.host.link.script("refused")
        update_a = update("STEP", "SUCCEED", "a", payload="1")
        with pytest.raises(StoreUnavailable):
            await simulation.history.invocations.checkpoint(invocation.token, "call", (update_a,))
        await settle()
        answer = await simulation.history.invocations.checkpoint(
            invocation.token, "call", (update_a,)
        )
        assert [operation.id for operation in answer.operations] == ["a"]


@pytest.mark.parametrize("fate", ["written", "refused", "unknown_written", "unknown_late"])
async def test_a_repeat_gets_the_same_answer_whatever_became_of_the_first(fate: Fate) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        calls = [(update("STEP", "START", "a"), update("WAIT", "START", "w"))]
        simulation.host.link.script(fate)
        answers: list[CheckpointAnswer] = []
        for _ in range(2):
            try:
                answers.append(
                    await simulation.history.invocations.checkpoint(
                        invocation.token, "call", calls[0]
                    )
                )
            except StoreError:
                await settle()
        answers.append(
            await simulation.history.invocations.checkpoint(invocation.token, "call", calls[0])
        )
        assert len({answer.token for answer in answers}) == 1
        assert [[each.id for each in answer.operations] for answer in answers] == [
            ["a", "w"] for _ in answers
        ]


async def test_a_refusal_is_returned_only_once_its_reason_is_durable() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        simulation.host.link.script("refused")
        stop = asyncio.ensure_future(simulation.history.commands.stop(arn, None))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await invocation.step("a")
        with pytest.raises(StoreUnavailable):
            await stop
        await settle()
        await invocation.step("a")


async def test_an_invocation_goes_on_when_the_commit_of_its_end_was_refused() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        simulation.host.link.script("refused")
        with pytest.raises(StoreUnavailable):
            await invocation.complete("SUCCEEDED")
        await settle()
        assert await worker.heartbeat(invocation) == ()
        await simulation.pass_ms(5_000)
        assert await worker.is_idle()
        await invocation.complete("SUCCEEDED")
        assert (await simulation.history.queries.describe(arn)).status == "SUCCEEDED"
        assert simulation.events(key_of(arn)).count("InvocationCompleted") == 1


@pytest.mark.parametrize("fate", ["unknown_written", "unknown_lost", "unknown_late"])
async def test_the_node_takes_a_new_incarnation_after_an_unknown_outcome(fate: Fate) -> None:
    async with Simulation() as simulation:
        before = simulation.history.incarnation
        simulation.host.link.script(fate)
        with pytest.raises(CommitUnknown):
            await simulation.start("n")
        await settle()
        assert simulation.history.incarnation == before + 1
        assert simulation.history.unavailable_reason is None


async def test_a_refused_commit_needs_no_new_incarnation() -> None:
    async with Simulation() as simulation:
        before = simulation.history.incarnation
        simulation.host.link.script("refused")
        with pytest.raises(StoreUnavailable):
            await simulation.start("n")
        await settle()
        assert simulation.history.incarnation == before


async def test_a_node_serves_again_once_the_database_is_back() -> None:
    async with Simulation() as simulation:
        simulation.host.link.away = True
        with pytest.raises(StoreUnavailable):
            await simulation.start()
        await simulation.pass_ms(5_000)
        assert not simulation.is_serving()
        simulation.host.link.away = False
        await simulation.pass_ms(1_000)
        assert simulation.is_serving()
        await simulation.start("n")


async def test_a_fenced_node_says_so_and_acknowledges_nothing_more() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        old = simulation.history
        waiting = asyncio.ensure_future(old.queries.wait_ended(arn, 60_000))
        await settle()
        await simulation.open()
        written = dict(inside(simulation.memory)._rows)
        with pytest.raises(Fenced):
            await old.invocations.checkpoint(
                invocation.token, "late", (update("STEP", "START", "a"),)
            )
        await settle()
        assert isinstance(old.fatal.result(), Fenced)
        with pytest.raises(StoreUnavailable):
            await waiting
        with pytest.raises(StoreUnavailable):
            await old.commands.stop(arn, None)
        with pytest.raises(StoreUnavailable):
            await old.queries.describe(arn)
        assert inside(simulation.memory)._rows == written
        await old.close()


async def test_a_node_that_was_replaced_notices_when_it_renews_its_lease() -> None:
    async with Simulation() as simulation:
        old = simulation.host
        await simulation.open()
        simulation.clock.advance(5_000)
        await old.work_periodically()
        await settle()
        assert isinstance(old.history.fatal.result(), Fenced)
        await old.history.close()


async def test_closing_lets_what_is_decided_become_durable() -> None:
    async with Simulation() as simulation:
        starting = asyncio.ensure_future(simulation.start("n"))
        for _ in range(4):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(simulation.history.close())
        await settle()
        assert closing.done()
        results = await asyncio.gather(starting, return_exceptions=True)
        assert isinstance(results[0], str | StoreUnavailable)
        assert len(simulation.rows()) == (1 if isinstance(results[0], str) else 0)
        with pytest.raises(StoreUnavailable):
            await simulation.start("m")
        await simulation.open()


async def test_no_caller_waits_for_an_answer_when_the_committer_dies() -> None:
    async with Simulation() as simulation:

        async def die(*_: object) -> None:
            raise ZeroDivisionError

        inside(simulation.host.link).commit = die
        results = await asyncio.gather(
            simulation.start("n"), simulation.start("m"), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        await settle()
        assert "committer" in str(simulation.history.fatal.result())
        assert simulation.history.unavailable_reason is not None


async def test_a_caller_that_goes_away_harms_no_other() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        staying = asyncio.ensure_future(invocation.step("a"))
        leaving = asyncio.ensure_future(simulation.history.commands.stop(arn, None))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        with pytest.raises(StaleToken):
            await invocation.step("b")
        assert (await simulation.history.queries.describe(arn)).status == "STOPPED"


async def test_what_a_commit_held_is_let_go_of_once_it_is_done() -> None:
    async with Simulation() as simulation:
        await asyncio.gather(*(simulation.start() for _ in range(10)))
        for execution in inside(simulation.history)._executions._cache._executions.values():
            assert execution.batch.batch.changes == {}
            assert execution.batch.batch.effects == []
