"""Group commits: how many there are, and what follows when one fails."""

import asyncio

import pytest

from perdure_core.refusals import StaleToken
from perdure_host.errors import CommitUnknown, Fenced, StoreError, StoreUnavailable
from perdure_host.services import CheckpointAnswer, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.scripted import ScriptedWorker, Step
from tests.history.world import World, inside
from tests.store.faulty_store import Fate

THREE_STEPS = (Step("a"), Step("b"), Step("c"))


async def test_three_steps_alone_cost_five_commits() -> None:
    async with World() as world:
        ScriptedWorker(world, {"order": THREE_STEPS})
        before = world.host.link.commits
        arn = await world.start("n")
        await settle()
        assert (await world.history.queries.describe(arn)).status == "SUCCEEDED"
        assert world.host.link.commits - before <= 5


async def test_executions_that_run_together_share_commits() -> None:
    async with World() as world:
        ScriptedWorker(world, {"order": THREE_STEPS})
        before = world.host.link.commits
        await asyncio.gather(*(world.start(f"n{n}") for n in range(64)))
        await settle()
        assert {row.status for row in world.rows()} == {"SUCCEEDED"}
        assert (world.host.link.commits - before) / 64 < 0.5


async def test_a_commit_holds_no_more_than_its_bound() -> None:
    async with World() as world:
        before = world.host.link.commits
        await asyncio.gather(*(world.start() for _ in range(2_500)))
        assert world.host.link.commits - before == 3
        assert len(world.rows()) == 2_500


async def test_what_was_decided_over_a_failed_commit_fails_too() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        world.host.link.script("refused")
        checkpoint = asyncio.ensure_future(invocation.step("b"))
        await asyncio.sleep(0)
        pause = asyncio.ensure_future(
            world.history.commands.pause(arn, reason=None, timeout_paused=True)
        )
        results = await asyncio.gather(checkpoint, pause, return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
        await settle()
        state = await world.history.queries.describe(arn)
        assert (list(state.operations), state.status) == (["a"], "RUNNING")


async def test_a_repeat_of_what_failed_is_accepted_as_if_it_came_first() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        await world.start("n")
        invocation = await worker.take()
        world.host.link.script("refused")
        update_a = update("STEP", "SUCCEED", "a", payload="1")
        with pytest.raises(StoreUnavailable):
            await world.history.invocations.checkpoint(invocation.token, "call", (update_a,))
        await settle()
        answer = await world.history.invocations.checkpoint(invocation.token, "call", (update_a,))
        assert [operation.id for operation in answer.operations] == ["a"]


@pytest.mark.parametrize("fate", ["written", "refused", "unknown_written", "unknown_late"])
async def test_a_repeat_gets_the_same_answer_whatever_became_of_the_first(fate: Fate) -> None:
    async with World() as world:
        worker = ManualWorker(world)
        await world.start("n")
        invocation = await worker.take()
        calls = [(update("STEP", "START", "a"), update("WAIT", "START", "w"))]
        world.host.link.script(fate)
        answers: list[CheckpointAnswer] = []
        for _ in range(2):
            try:
                answers.append(
                    await world.history.invocations.checkpoint(invocation.token, "call", calls[0])
                )
            except StoreError:
                await settle()
        answers.append(
            await world.history.invocations.checkpoint(invocation.token, "call", calls[0])
        )
        assert len({answer.token for answer in answers}) == 1
        assert [[each.id for each in answer.operations] for answer in answers] == [
            ["a", "w"] for _ in answers
        ]


async def test_a_refusal_is_told_only_once_what_it_rests_on_is_durable() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        world.host.link.script("refused")
        stop = asyncio.ensure_future(world.history.commands.stop(arn, None))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await invocation.step("a")
        with pytest.raises(StoreUnavailable):
            await stop
        await settle()
        await invocation.step("a")


async def test_an_invocation_goes_on_when_the_commit_of_its_end_was_refused() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        world.host.link.script("refused")
        with pytest.raises(StoreUnavailable):
            await invocation.complete("SUCCEEDED")
        await settle()
        assert await worker.heartbeat(invocation) == ()
        await world.pass_ms(5_000)
        assert await worker.is_idle()
        await invocation.complete("SUCCEEDED")
        assert (await world.history.queries.describe(arn)).status == "SUCCEEDED"
        assert world.events(key_of(arn)).count("InvocationCompleted") == 1


@pytest.mark.parametrize("fate", ["unknown_written", "unknown_lost", "unknown_late"])
async def test_the_node_takes_a_new_incarnation_after_an_unknown_outcome(fate: Fate) -> None:
    async with World() as world:
        before = world.history.incarnation
        world.host.link.script(fate)
        with pytest.raises(CommitUnknown):
            await world.start("n")
        await settle()
        assert world.history.incarnation == before + 1
        assert world.history.unavailable_reason is None


async def test_a_refused_commit_needs_no_new_incarnation() -> None:
    async with World() as world:
        before = world.history.incarnation
        world.host.link.script("refused")
        with pytest.raises(StoreUnavailable):
            await world.start("n")
        await settle()
        assert world.history.incarnation == before


async def test_a_node_serves_again_once_the_database_is_back() -> None:
    async with World() as world:
        world.host.link.away = True
        with pytest.raises(StoreUnavailable):
            await world.start()
        await world.pass_ms(5_000)
        assert not world.is_serving()
        world.host.link.away = False
        await world.pass_ms(1_000)
        assert world.is_serving()
        await world.start("n")


async def test_a_fenced_node_says_so_and_acknowledges_nothing_more() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        old = world.history
        waiting = asyncio.ensure_future(old.queries.wait_ended(arn, 60_000))
        await settle()
        await world.open()
        written = dict(inside(world.memory)._rows)
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
        assert inside(world.memory)._rows == written
        await old.close()


async def test_a_node_that_was_replaced_notices_when_it_renews_its_lease() -> None:
    async with World() as world:
        old = world.host
        await world.open()
        world.clock.advance(5_000)
        await old.work_periodically()
        await settle()
        assert isinstance(old.history.fatal.result(), Fenced)
        await old.history.close()


async def test_closing_lets_what_is_decided_become_durable() -> None:
    async with World() as world:
        starting = asyncio.ensure_future(world.start("n"))
        for _ in range(4):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(world.history.close())
        await settle()
        assert closing.done()
        results = await asyncio.gather(starting, return_exceptions=True)
        assert isinstance(results[0], str | StoreUnavailable)
        assert len(world.rows()) == (1 if isinstance(results[0], str) else 0)
        with pytest.raises(StoreUnavailable):
            await world.start("m")
        await world.open()


async def test_nobody_waits_for_an_answer_when_the_committer_dies() -> None:
    async with World() as world:

        async def die(*_: object) -> None:
            raise ZeroDivisionError

        inside(world.host.link).commit = die
        results = await asyncio.gather(world.start("n"), world.start("m"), return_exceptions=True)
        assert all(isinstance(result, StoreError) for result in results)
        await settle()
        assert "committer" in str(world.history.fatal.result())
        assert world.history.unavailable_reason is not None


async def test_a_caller_that_goes_away_harms_no_other() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        staying = asyncio.ensure_future(invocation.step("a"))
        leaving = asyncio.ensure_future(world.history.commands.stop(arn, None))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        with pytest.raises(StaleToken):
            await invocation.step("b")
        assert (await world.history.queries.describe(arn)).status == "STOPPED"


async def test_what_a_commit_held_is_let_go_of_once_it_is_done() -> None:
    async with World() as world:
        await asyncio.gather(*(world.start() for _ in range(10)))
        for execution in inside(world.history)._executions._cache._executions.values():
            assert execution.batch.changes == {}
            assert execution.batch.effects == []
