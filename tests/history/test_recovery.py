"""Recovery: after a failed commit until the reload, and after queues that were full."""

import asyncio
from typing import Any

import pytest

from perdure_host.errors import NodeTaken, StoreUnavailable
from perdure_host.services import StartRequest, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import Invocation, ManualWorker
from tests.history.simulation import Simulation, inside


def slow_join(simulation: Simulation) -> asyncio.Event:
    """Make the node's next join wait for a test."""
    gate = asyncio.Event()
    link, join = simulation.host.link, simulation.host.link.join

    async def wait(node_name: str, address: str, **lease: Any) -> int:
        await gate.wait()
        return await join(node_name, address, **lease)

    inside(link).join = wait
    return gate


async def test_nothing_is_decided_between_a_failed_commit_and_the_reload() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        gate = slow_join(simulation)
        simulation.host.link.script("unknown_lost")
        failing = asyncio.ensure_future(invocation.step("a"))
        await asyncio.gather(failing, return_exceptions=True)
        commits = simulation.host.link.commits
        for work in (
            simulation.history.commands.stop(arn, None),
            simulation.history.queries.describe(arn),
            simulation.history.queries.functions(),
            simulation.start("m"),
            invocation.step("a"),
            worker.begin_for(arn),
            worker.claim(invocation),
            simulation.history.queries.page(arn, after_event_id=0, limit=1),
        ):
            with pytest.raises(StoreUnavailable):
                await work
        assert simulation.host.link.commits == commits
        gate.set()
        await settle()
        assert list((await simulation.history.queries.describe(arn)).operations) == []


async def test_a_name_that_was_looked_for_before_a_reload_is_looked_for_again() -> None:
    async with Simulation() as simulation:
        request = StartRequest(namespace="default", function="order", name="n")
        gate = slow_join(simulation)
        simulation.host.link.script("unknown_late")
        first = asyncio.ensure_future(simulation.history.commands.start(request))
        await asyncio.gather(first, return_exceptions=True)
        # The read sees the database before the late commit lands, its answer comes after.
        link, find = simulation.host.link, simulation.host.link.find_many

        async def slow_find(*args: object) -> object:
            found = await find(*args)  # type: ignore[arg-type]
            gate.set()
            await settle()
            return found

        inside(link).find_many = slow_find
        inside(simulation.history)._executions._unavailable_reason = None
        second = asyncio.ensure_future(simulation.history.commands.start(request))
        with pytest.raises(StoreUnavailable):
            await second
        inside(link).find_many = find
        assert not (await simulation.history.commands.start(request)).started
        assert simulation.is_serving()


async def test_a_node_that_finds_another_in_its_place_gives_up() -> None:
    async with Simulation() as simulation:
        simulation.host.link.script("unknown_lost")
        gate = slow_join(simulation)
        await asyncio.gather(simulation.start("n"), return_exceptions=True)
        await simulation.memory.leave(simulation.history.incarnation)
        await simulation.memory.join(
            "beta", "beta:1", now_ms=simulation.clock.now_ms(), lease_ms=60_000
        )
        gate.set()
        await settle()
        assert isinstance(simulation.history.fatal.result(), NodeTaken)
        assert not simulation.is_serving()


async def test_a_lease_that_lapses_while_the_node_renews_itself_is_no_end() -> None:
    async with Simulation() as simulation:
        link, renew = simulation.host.link, simulation.host.link.renew

        async def slow_renew(incarnation: int, *, now_ms: int, lease_ms: int) -> None:
            simulation.host.link.script("unknown_lost")
            await asyncio.gather(simulation.start("n"), return_exceptions=True)
            await settle()
            await renew(incarnation, now_ms=now_ms, lease_ms=lease_ms)

        inside(link).renew = slow_renew
        await inside(simulation.history)._renew()
        await settle()
        assert not simulation.history.fatal.done()
        assert simulation.is_serving()
        inside(link).renew = renew


async def test_what_did_not_fit_into_a_queue_is_offered_when_it_has_room() -> None:
    async with Simulation() as simulation:
        await simulation.pass_ms(simulation.settings.claim_wait_ms)
        inside(simulation.host.matching)._queue_tasks_max = 5
        await asyncio.gather(*(simulation.start() for _ in range(23)))
        worker = ManualWorker(simulation, slots=1)
        ended = 0
        while ended < 23:
            await settle()
            offer = await simulation.history.invocations.begin(worker.tasks.pop(0).key, "worker-1")
            # None: it was offered again between its delivery and its beginning.
            if offer is not None:
                await Invocation(simulation, offer).complete("SUCCEEDED")
                ended += 1
            simulation.host.matching.credit("worker-1", 1)
        assert {row.status for row in simulation.rows()} == {"SUCCEEDED"}


async def test_offers_go_on_when_the_database_was_away_while_they_were_read() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        await simulation.restart()
        worker = ManualWorker(simulation)
        simulation.host.link.away = True
        await simulation.pass_ms(simulation.settings.claim_wait_ms + 1_200)
        assert await worker.is_idle()
        simulation.host.link.away = False
        await simulation.pass_ms(500)
        assert worker.tasks[0].key == key_of(arn)


async def test_invocations_go_on_through_a_reload_of_their_node() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        simulation.host.link.script("unknown_lost")
        await asyncio.gather(simulation.start("other"), return_exceptions=True)
        await settle()
        await simulation.pass_ms(5_000)
        assert await worker.heartbeat(invocation) == ()
        await invocation.step("b")
        await invocation.complete("SUCCEEDED")
        assert simulation.events(key_of(arn)).count("InvocationCompleted") == 1
