"""The scanner finds, reports and repairs executions that cannot move; it finds no others."""

import asyncio

import msgspec

from perdure_host.services import key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.world import World, inside


def found(world: World, rule: str) -> float:
    name = "perdure_invariant_violations_total"
    return world.metrics.registry.get_sample_value(name, {"rule": rule}) or 0


async def scan(world: World, times: int = 1) -> None:
    for _ in range(times):
        await inside(world.history)._scanner.scan()
    await settle()


class Flawed(World):
    """A world that something was broken in on purpose."""

    def violations(self) -> float:
        return 0


async def test_a_stranded_execution_is_found_by_the_second_scan_and_offered_again() -> None:
    async with Flawed() as world:
        await world.pass_ms(40_000)
        arn = await world.start("n")
        # As if the queue had lost it.
        queue = inside(world.host.matching)._queues["default", "order"]
        queue.tasks.clear()
        await scan(world)
        assert found(world, "stranded") == 0
        await scan(world)
        assert found(world, "stranded") == 1
        worker = ManualWorker(world)
        await (await worker.take()).complete("SUCCEEDED")
        assert (await world.history.queries.describe(arn)).status == "SUCCEEDED"


async def test_what_moved_between_two_scans_is_not_stranded() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        await world.pass_ms(40_000)
        arn = await world.start("n")
        invocation = await worker.take()
        for name in "abc":
            await invocation.step(name)
            running = inside(world.history)._executions.running
            entry = running.remove(key_of(arn))
            await scan(world)
            running.add(entry)
        assert found(world, "stranded") == 0
        await invocation.complete("SUCCEEDED")


async def test_a_forgotten_timer_is_found_and_fired() -> None:
    async with Flawed() as world:
        worker = ManualWorker(world)
        arn = await world.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=1_000))
        await invocation.complete()
        inside(world.history)._executions.timers._near.clear()
        world.clock.advance(31_001)
        await scan(world, 2)
        assert found(world, "timer_late") == 1
        await settle()
        assert (await world.history.queries.describe(arn)).operations["w"].status == "SUCCEEDED"


async def test_an_execution_that_waits_for_nothing_is_reported() -> None:
    async with World() as world:
        arn = await world.start("n")
        rows = inside(world.memory)._rows
        row = rows[key_of(arn)]
        rows[key_of(arn)] = msgspec.structs.replace(row, waiting_for="nothing")
        await scan(world)
        assert found(world, "unreachable") == 1
        rows[key_of(arn)] = row
        world.metrics._invariant_violations.clear()  # pyright: ignore[reportPrivateUsage]


async def test_work_that_waits_in_a_queue_or_runs_is_no_finding() -> None:
    async with World() as world:
        worker = ManualWorker(world, slots=3)
        await asyncio.gather(*(world.start() for _ in range(6)))
        invocations = [await worker.take() for _ in range(3)]
        for _ in range(8):
            await world.pass_ms(9_000)
            await worker.heartbeat(*invocations)
        assert world.violations() == 0


async def test_nothing_is_scanned_while_the_node_does_not_serve() -> None:
    async with World() as world:
        await world.start("n")
        await world.history.close()
        assert await inside(world.history)._scanner.scan() == 0
        await world.open()
