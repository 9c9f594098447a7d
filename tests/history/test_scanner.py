"""The scanner finds, reports and repairs executions that cannot move; it finds no others."""

import asyncio

import msgspec

from perdure_core.limits import BUCKETS
from perdure_host.ports import ExecutionKey
from perdure_host.services import key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.simulation import Simulation, inside


def found(simulation: Simulation, rule: str) -> float:
    name = "perdure_invariant_violations_total"
    return simulation.metrics.registry.get_sample_value(name, {"rule": rule}) or 0


async def scan(simulation: Simulation, times: int = 1) -> None:
    for _ in range(times):
        await inside(simulation.history)._scanner.scan()
    await settle()


class Flawed(Simulation):
    """A simulation in which something was broken on purpose."""

    def violations(self) -> float:
        return 0


async def test_a_stranded_execution_is_found_by_the_second_scan_and_offered_again() -> None:
    async with Flawed() as simulation:
        await simulation.pass_ms(40_000)
        arn = await simulation.start("n")
        # As if the queue had lost it.
        queue = inside(simulation.host.matching)._queues["default", "order"]
        queue.starts.clear()
        await scan(simulation)
        assert found(simulation, "stranded") == 0
        await scan(simulation)
        assert found(simulation, "stranded") == 1
        worker = ManualWorker(simulation)
        await (await worker.take()).complete("SUCCEEDED")
        assert (await simulation.history.queries.describe(arn)).status == "SUCCEEDED"


async def test_what_moved_between_two_scans_is_not_stranded() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.pass_ms(40_000)
        arn = await simulation.start("n")
        invocation = await worker.take()
        for name in "abc":
            await invocation.step(name)
            running = inside(simulation.history)._executions.running
            entry = running.remove(key_of(arn))
            await scan(simulation)
            running.add(entry)
        assert found(simulation, "stranded") == 0
        await invocation.complete("SUCCEEDED")


async def test_a_forgotten_timer_is_found_and_fired() -> None:
    async with Flawed() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=1_000))
        await invocation.complete()
        inside(simulation.history)._executions.timers._near.clear()
        simulation.clock.advance(31_001)
        await scan(simulation, 2)
        assert found(simulation, "timer_late") == 1
        await settle()
        assert (await simulation.history.queries.describe(arn)).operations[
            "w"
        ].status == "SUCCEEDED"


async def test_an_execution_that_waits_for_nothing_is_reported() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        rows = inside(simulation.memory)._rows
        row = rows[key_of(arn)]
        rows[key_of(arn)] = msgspec.structs.replace(row, waiting_for="nothing")
        await scan(simulation)
        assert found(simulation, "unreachable") == 1
        rows[key_of(arn)] = row
        simulation.metrics._invariant_violations.clear()  # pyright: ignore[reportPrivateUsage]


async def test_work_that_waits_in_a_queue_or_runs_is_no_finding() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, slots=3)
        await asyncio.gather(*(simulation.start() for _ in range(6)))
        invocations = [await worker.take() for _ in range(3)]
        for _ in range(8):
            await simulation.pass_ms(9_000)
            await worker.heartbeat(*invocations)
        assert simulation.violations() == 0


async def test_nothing_is_scanned_while_the_node_does_not_serve() -> None:
    async with Simulation() as simulation:
        await simulation.start("n")
        await simulation.history.close()
        assert await inside(simulation.history)._scanner.scan() == 0
        await simulation.open()


async def test_a_lost_alarm_is_restored_and_fires() -> None:
    async with Flawed() as simulation:
        worker = ManualWorker(simulation)
        lost, paused = await simulation.start("lost"), await simulation.start("paused")
        for invocation in (await worker.take(), await worker.take()):
            await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=90_000))
            await invocation.complete()
        await simulation.history.commands.pause(paused, reason=None, timeout_paused=True)
        # As if a disk had lost the row.
        del inside(simulation.memory)._alarms[key_of(lost)]
        await simulation.restart()
        await scan(simulation, BUCKETS // 128)
        assert found(simulation, "alarm_lost") == 1
        await simulation.pass_ms(91_000)
        state = await simulation.history.queries.describe(lost)
        assert state.operations["w"].status == "SUCCEEDED"
        await scan(simulation, BUCKETS // 128)
        assert found(simulation, "alarm_lost") == 1


async def test_an_alarm_without_an_execution_is_set_aside_once() -> None:
    async with Flawed() as simulation:
        stray = ExecutionKey(7, "f" * 32)
        inside(simulation.memory)._alarms[stray] = simulation.clock.now_ms()
        simulation.clock.advance(31_001)
        await scan(simulation, 3)
        quarantine = inside(simulation.history)._executions.quarantine
        assert quarantine.count("alarm") == 1
        assert found(simulation, "timer_late") == 0
