"""Queries: pages of histories, following one, waiting for an end."""

import asyncio

import pytest

from perdure_core.refusals import Unknown
from perdure_host.ports import ListQuery
from perdure_host.services import NumberedEvent, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.simulation import Simulation


async def follow(simulation: Simulation, arn: str, after: int = 0) -> list[NumberedEvent]:
    return [event async for event in simulation.history.queries.follow(arn, after)]


def names(events: list[NumberedEvent]) -> list[str]:
    return [type(event.event).__name__ for event in events]


async def test_a_history_is_read_in_pages_forward_and_backward() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        for name in "abc":
            await invocation.step(name)
        await invocation.complete("SUCCEEDED")
        page = simulation.history.queries.page
        everything = await page(arn, after_event_id=0, limit=100)
        assert [event.event_id for event in everything] == list(range(1, 10))
        assert names(everything) == simulation.events(key_of(arn))
        pieces: list[NumberedEvent] = []
        while more := await page(arn, after_event_id=len(pieces), limit=2):
            pieces += more
        assert pieces == everything
        backwards = await page(arn, after_event_id=0, limit=4, reverse=True)
        backwards += await page(arn, after_event_id=6, limit=100, reverse=True)
        assert backwards == everything[::-1]
        assert await page(arn, after_event_id=1, limit=100, reverse=True) == []


async def test_following_shows_each_event_once_until_the_end() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        following = asyncio.ensure_future(follow(simulation, arn))
        late = asyncio.ensure_future(follow(simulation, arn, 3))
        invocation = await worker.take()
        for name in "abc":
            await invocation.step(name)
            await settle()
        await invocation.complete("SUCCEEDED")
        await settle()
        assert names(await following) == simulation.events(key_of(arn))
        assert [event.event_id for event in await late] == list(range(4, 10))


async def test_following_goes_on_over_a_reload_and_shows_each_event_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        following = asyncio.ensure_future(follow(simulation, arn))
        invocation = await worker.take()
        await invocation.step("a")
        await settle()
        simulation.host.link.script("unknown_late")
        await asyncio.gather(simulation.start("other"), return_exceptions=True)
        await settle()
        assert simulation.history.incarnation == 2
        await invocation.step("b")
        await invocation.complete("SUCCEEDED")
        await settle()
        assert [event.event_id for event in await following] == list(range(1, 8))


async def test_a_follower_that_goes_away_leaves_nothing_behind() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        following = asyncio.ensure_future(follow(simulation, arn))
        waiting = asyncio.ensure_future(simulation.history.queries.wait_ended(arn, 60_000))
        await settle()
        following.cancel()
        waiting.cancel()
        await asyncio.gather(following, waiting, return_exceptions=True)
        await settle()
        assert len(asyncio.all_tasks()) < 12


async def test_waiting_ends_with_the_execution() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        waiting = [
            asyncio.ensure_future(simulation.history.queries.wait_ended(arn, 60_000))
            for _ in range(3)
        ]
        invocation = await worker.take()
        await invocation.step("a")
        await settle()
        assert not any(waiter.done() for waiter in waiting)
        await invocation.complete("SUCCEEDED")
        await settle()
        assert all(waiter.done() for waiter in waiting)
        await simulation.history.queries.wait_ended(arn, 60_000)


async def test_waiting_ends_at_its_time() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        waiting = asyncio.ensure_future(simulation.history.queries.wait_ended(arn, 5_000))
        await simulation.pass_ms(4_999)
        assert not waiting.done()
        await simulation.pass_ms(1)
        assert waiting.done()
        await simulation.history.queries.wait_ended(arn, 0)


async def test_callers_that_wait_cost_no_task_each_and_end_each_at_its_time() -> None:
    async with Simulation() as simulation:
        queries = simulation.history.queries
        arn = await simulation.start("n")
        before = len(asyncio.all_tasks())
        # In any order, and some leave before.
        waiting = [
            asyncio.ensure_future(queries.wait_ended(arn, 1_000 + (7 * number) % 300))
            for number in range(300)
        ]
        await settle()
        # The callers themselves, and one for all of them.
        assert len(asyncio.all_tasks()) == before + 300 + 1
        for each in waiting[::3]:
            each.cancel()
        stay = [each for number, each in enumerate(waiting) if number % 3]
        await simulation.pass_ms(1_099)
        due = [(7 * number) % 300 < 100 for number in range(300) if number % 3]
        assert [each.done() for each in stay] == due
        await simulation.pass_ms(200)
        assert all(each.done() for each in waiting)
        await settle()
        assert len(asyncio.all_tasks()) == before


async def test_waiting_for_what_is_swept_meanwhile_ends() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        waiting = asyncio.ensure_future(simulation.history.queries.wait_ended(arn, 60_000))
        await settle()
        await simulation.history.commands.stop(arn, None)
        await simulation.history.commands.delete(arn)
        await simulation.pass_ms(10_000)
        assert waiting.done()
        with pytest.raises(Unknown):
            await simulation.history.queries.page(arn, after_event_id=0, limit=1)


async def test_only_what_is_durable_is_shown() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        deciding = asyncio.ensure_future(invocation.checkpoint(update("STEP", "START", "a")))
        await asyncio.sleep(0)
        page = await simulation.history.queries.page(arn, after_event_id=0, limit=10)
        assert names(page) == ["ExecutionStarted"]
        await deciding


async def test_executions_are_listed_as_the_store_lists_them() -> None:
    async with Simulation() as simulation:
        await simulation.start("n")
        await simulation.start("m")
        page = await simulation.history.queries.list_executions(
            ListQuery(namespace="default", limit=10)
        )
        assert {row.name for row in page.rows} == {"n", "m"}
        assert [row.name for row in await simulation.history.queries.functions()] == [
            "child",
            "order",
        ]
