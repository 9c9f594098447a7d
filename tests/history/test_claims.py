"""Claims after a restart or a pause: in batches, protected until decided, with time to arrive."""

import asyncio

from perdure_core.events import InvocationCompleted
from perdure_history.claim_window import EXTENSIONS_MAX, ClaimWindow
from perdure_history.settings import HistorySettings
from perdure_host.attention import GAP_MS_MAX, LOOK_MS, Attention
from perdure_host.ports import ExecutionKey
from perdure_host.services import key_of
from tests.history.manual_clock import ManualClock, settle
from tests.history.manual_worker import Invocation, ManualWorker, update
from tests.history.simulation import Simulation

MANY = 600
KEY = ExecutionKey(1, "one")


def given_up(simulation: Simulation) -> int:
    """Return how many invocations were recorded as lost or unclaimed."""
    return sum(
        event.error is not None
        for row in simulation.rows()
        for record in simulation.records(row.key)
        for event in record.events
        if isinstance(event, InvocationCompleted)
    )


async def running(simulation: Simulation, worker: ManualWorker, count: int) -> list[Invocation]:
    """Start executions, half of which have recorded the start of a step."""
    await asyncio.gather(*(simulation.start() for _ in range(count)))
    invocations = [await worker.take() for _ in range(count)]
    for invocation in invocations[::2]:
        await invocation.checkpoint(update("STEP", "START", "a"))
    return invocations


# The window.


def attended(clock: ManualClock, attention: Attention, ms: int) -> None:
    for _ in range(ms // LOOK_MS):
        clock.advance(LOOK_MS)
        attention.now_ms()


async def test_the_window_closes_after_its_time() -> None:
    clock = ManualClock()
    attention = Attention(clock)
    window = ClaimWindow(attention, 2_000)
    assert not window.is_open
    window.open()
    closing = asyncio.ensure_future(window.wait_closed())
    attended(clock, attention, 1_750)
    await settle()
    assert (window.is_open, closing.done()) == (True, False)
    attended(clock, attention, 250)
    await settle()
    assert (window.is_open, closing.done(), window.closed_ms) == (False, True, 0)


async def test_claims_hold_the_window_open_but_not_for_ever() -> None:
    clock = ManualClock()
    attention = Attention(clock)
    window = ClaimWindow(attention, 2_000)
    window.open()
    for _ in range(EXTENSIONS_MAX - 1):
        attended(clock, attention, 2_000 - LOOK_MS)
        window.claims_arrived([KEY])
        assert window.is_open
        window.claims_decided([KEY])
    attended(clock, attention, 2_000 * EXTENSIONS_MAX)
    window.claims_arrived([KEY])
    assert not window.is_open


async def test_a_pause_is_no_part_of_the_window() -> None:
    clock = ManualClock()
    attention = Attention(clock)
    window = ClaimWindow(attention, 2_000)
    window.open()
    clock.advance(3_600_000)
    assert window.is_open
    attended(clock, attention, 2_000 - GAP_MS_MAX)
    assert not window.is_open


async def test_a_claim_protects_its_execution_until_every_one_is_decided() -> None:
    window = ClaimWindow(Attention(ManualClock()), 2_000)
    window.claims_arrived([KEY])
    window.claims_arrived([KEY])
    window.claims_decided([KEY])
    assert window.may_be_claimed(KEY)
    window.claims_decided([KEY])
    assert not window.may_be_claimed(KEY)


# In the service.


async def test_many_claims_are_read_in_few_batches_and_all_go_on() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        invocations = await running(simulation, worker, MANY)
        await simulation.restart()
        idle = ManualWorker(simulation, "idle")
        loads = simulation.host.link.loads
        assert await worker.claim(*invocations)
        assert simulation.host.link.loads == loads
        assert simulation.host.link.batches == 3
        await simulation.pass_ms(simulation.settings.claim_wait_ms + 1_000)
        assert await idle.is_idle()
        for invocation in invocations:
            await invocation.complete("SUCCEEDED")
        assert given_up(simulation) == 0


async def test_claims_that_take_longer_than_the_window_are_decided_all_the_same() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        invocations = await running(simulation, worker, 20)
        await simulation.restart()
        idle = ManualWorker(simulation, "idle")
        gate = simulation.host.link.read_gate
        gate.clear()
        claiming = asyncio.ensure_future(worker.claim(*invocations))
        await settle()
        await simulation.pass_ms(simulation.settings.claim_wait_ms * 2 * EXTENSIONS_MAX)
        for task in idle.tasks:
            assert await simulation.history.invocations.begin(task.key, "idle") is None
        idle.tasks.clear()
        gate.set()
        assert await claiming
        assert given_up(simulation) == 0
        for invocation in invocations:
            await invocation.complete("SUCCEEDED")


async def test_what_is_refused_late_is_offered_to_others() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        (invocation,) = await running(simulation, worker, 1)
        stale = invocation.token
        await simulation.history.invocations.hand_back([stale])
        second = await worker.take()
        await second.step("b")
        await simulation.restart()
        idle = ManualWorker(simulation, "idle")
        gate = simulation.host.link.read_gate
        gate.clear()
        refusing = asyncio.ensure_future(simulation.history.invocations.claim([stale], "worker-1"))
        await settle()
        await simulation.pass_ms(simulation.settings.claim_wait_ms * 2)
        for task in idle.tasks:
            assert await simulation.history.invocations.begin(task.key, "idle") is None
        idle.tasks.clear()
        gate.set()
        assert await refusing == (stale,)
        (task,) = idle.tasks
        assert task.key == key_of(second.offer.arn)
        # Its worker has died too, and is given up for good.
        assert await simulation.history.invocations.begin(task.key, "idle") is None
        assert given_up(simulation) == 1


async def test_the_window_is_a_setting() -> None:
    async with Simulation(HistorySettings(claim_wait_ms=30_000)) as simulation:
        worker = ManualWorker(simulation)
        invocations = await running(simulation, worker, 2)
        await simulation.restart()
        await simulation.pass_ms(29_000)
        assert given_up(simulation) == 0
        assert await worker.claim(*invocations)


# After a pause.


async def test_a_pause_of_the_server_takes_nothing_from_its_workers() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        invocations = await running(simulation, worker, 4)
        for _ in range(3):
            simulation.clock.advance(3_600_000)
            await simulation.pass_ms(5_000)
            assert await worker.heartbeat(*invocations) == ()
        for invocation in invocations:
            await invocation.complete("SUCCEEDED")
        assert given_up(simulation) == 0


async def test_a_stream_that_breaks_over_a_pause_leaves_the_time_to_claim() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        invocations = await running(simulation, worker, 4)
        await simulation.pass_ms(10_000)
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await settle()
        simulation.clock.advance(60_000)
        await simulation.pass_ms(simulation.settings.claim_wait_ms - LOOK_MS)
        assert await worker.claim(*invocations)
        await simulation.pass_ms(10_000)
        await losing
        assert given_up(simulation) == 0
        for invocation in invocations:
            await invocation.complete("SUCCEEDED")


async def test_an_invocation_that_was_handed_out_before_a_pause_may_be_listed_after_it() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        (invocation,) = await running(simulation, worker, 1)
        simulation.clock.advance(60_000)
        # This heartbeat was sent before the worker had read the invocation.
        assert await worker.heartbeat() == ()
        assert await worker.heartbeat(invocation) == ()
        await invocation.complete("SUCCEEDED")
        assert given_up(simulation) == 0
