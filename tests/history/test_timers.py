"""Timers: never early, never forgotten, and only near ones in memory."""

import asyncio

import pytest

from perdure_core.alarms import Alarms
from perdure_core.events import WaitSucceeded
from perdure_core.identity import bucket_of
from perdure_history.settings import HistorySettings
from perdure_history.timers import Timers
from perdure_host.memory_store import MemoryStore
from perdure_host.ports import ExecutionKey
from perdure_host.services import key_of
from tests.history.manual_clock import ManualClock, settle
from tests.history.manual_worker import Invocation, ManualWorker, update
from tests.history.simulation import Link, Simulation, inside


def fired_ms(simulation: Simulation, arn: str) -> list[int]:
    return [
        record.at_ms
        for record in simulation.records(key_of(arn))
        for event in record.events
        if isinstance(event, WaitSucceeded)
    ]


async def sleeper(simulation: Simulation, worker: ManualWorker, ms: int) -> tuple[str, Invocation]:
    """Start an execution that waits."""
    arn = await simulation.start()
    invocation = await worker.take()
    await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=ms))
    await invocation.complete()
    return arn, invocation


@pytest.mark.parametrize("ms", [1, 999, 30_000, 60_000, 60_001, 90_000, 3_600_000])
async def test_a_timer_fires_when_it_is_due_and_not_before(ms: int) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        due_ms = simulation.clock.now_ms() + ms
        arn, _ = await sleeper(simulation, worker, ms)
        await simulation.pass_ms(ms - 1)
        assert fired_ms(simulation, arn) == []
        await simulation.pass_ms(1)
        assert fired_ms(simulation, arn) == [due_ms]


async def test_timers_are_found_after_a_restart() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        due_ms = simulation.clock.now_ms() + 5_000
        arn, _ = await sleeper(simulation, worker, 5_000)
        late, _ = await sleeper(simulation, worker, 1_000)
        simulation.host.crash()
        simulation.clock.advance(3_000)
        await simulation.open()
        assert fired_ms(simulation, late) == [simulation.clock.now_ms()]
        await simulation.pass_ms(2_000)
        assert fired_ms(simulation, arn) == [due_ms]


async def test_far_timers_cost_no_memory() -> None:
    async with Simulation(HistorySettings(cache_executions_max=100)) as simulation:
        await asyncio.gather(*(simulation.start() for _ in range(10_000)))
        worker = ManualWorker(simulation, slots=300)
        invocations = [await worker.take() for _ in range(300)]
        await asyncio.gather(
            *(
                each.checkpoint(update("WAIT", "START", "w", wait_ms=86_400_000))
                for each in invocations
            )
        )
        await asyncio.gather(*(each.complete() for each in invocations))
        timers = inside(simulation.history)._executions.timers
        assert len(inside(simulation.memory)._alarms) == 10_000
        assert len(timers) == 0
        assert timers._near.entries == 0


async def test_an_alarm_that_moves_does_not_fire_at_its_old_time() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        beats = update("CALLBACK", "START", "c", heartbeat_timeout_s=10)
        await invocation.checkpoint(beats)
        await invocation.complete()
        callback_id = inside(
            (await simulation.history.queries.describe(arn)).operations["c"].details
        ).callback_id
        records = len(simulation.records(key_of(arn)))
        for _ in range(5):
            await simulation.pass_ms(9_000)
            await simulation.history.commands.heartbeat_callback(callback_id)
        assert len(simulation.records(key_of(arn))) == records + 5
        assert simulation.host.link.loads == 0
        await simulation.pass_ms(9_999)
        assert "CallbackTimedOut" not in simulation.events(key_of(arn))
        await simulation.pass_ms(1)
        assert "CallbackTimedOut" in simulation.events(key_of(arn))


async def test_alarms_that_move_often_take_no_room() -> None:
    alarms = Alarms[ExecutionKey]()
    keys = [ExecutionKey(7, f"{number:032x}") for number in range(10)]
    for ms in range(20_000):
        alarms.move(keys[ms % 10], 60_000 + ms)
    assert len(alarms) == 10
    assert alarms.entries < 1_100
    popped = [alarms.pop_due(100_000) for _ in range(11)]
    assert popped == [*keys, None]


async def test_the_deadline_of_an_execution_ends_it() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n", timeout_s=90)
        await simulation.pass_ms(89_999)
        assert (await simulation.history.queries.describe(arn)).status == "RUNNING"
        await simulation.pass_ms(1)
        assert (await simulation.history.queries.describe(arn)).status == "TIMED_OUT"


async def test_timers_that_cannot_be_read_or_written_are_handled_later() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn, _ = await sleeper(simulation, worker, 2_000)
        far, _ = await sleeper(simulation, worker, 65_000)
        simulation.host.link.away = True
        await simulation.pass_ms(40_000)
        assert fired_ms(simulation, arn) == []
        simulation.host.link.away = False
        await simulation.pass_ms(2_000)
        assert len(fired_ms(simulation, arn)) == 1
        await simulation.pass_ms(65_000 - 42_000)
        assert len(fired_ms(simulation, far)) == 1


async def test_timers_are_not_forgotten_when_the_node_reloads_while_they_are_read() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.pass_ms(1_000)
        timers = inside(simulation.history)._executions.timers
        timers.reset()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        timers.reset()
        await settle()
        arn, _ = await sleeper(simulation, worker, 100)
        await simulation.pass_ms(100)
        assert len(fired_ms(simulation, arn)) == 1


class Bare:
    """Timers over alarms that a test writes by itself."""

    def __init__(self, *, alarms_max: int = 10) -> None:
        self.clock = ManualClock(1_000_000)
        self.memory = MemoryStore()
        self.fired: list[tuple[int, str]] = []
        self.timers = Timers(
            Link(self.memory),
            self.clock,
            HistorySettings(),
            self._fire,
            fire_loaded=lambda _: False,
            alarms_max=alarms_max,
        )
        self.running = asyncio.ensure_future(self.timers.run())

    def write(self, name: str, due_ms: int | None) -> ExecutionKey:
        key = ExecutionKey(bucket_of("default", "order", name), name.rjust(32, "0"))
        inside(self.memory)._alarms.pop(key, None)
        if due_ms is not None:
            inside(self.memory)._alarms[key] = due_ms
        return key

    async def _fire(self, key: ExecutionKey) -> None:
        self.fired.append((self.clock.now_ms(), key.execution_id.lstrip("0")))
        inside(self.memory)._alarms.pop(key, None)

    async def pass_until(self, ms: int) -> None:
        while True:
            await settle()
            due_ms = self.clock.next_due_ms()
            if due_ms is None or due_ms > ms:
                return
            self.clock.advance(due_ms - self.clock.now_ms())


async def test_more_alarms_than_there_is_room_for_all_fire_in_time() -> None:
    bare = Bare(alarms_max=10)
    now_ms = bare.clock.now_ms()
    expected = sorted((now_ms + 100 * (n // 7), f"a{n}") for n in range(3_500))
    for due_ms, name in expected:
        bare.write(name, due_ms)
    await settle()
    assert len(bare.timers) <= 1_010
    await bare.pass_until(now_ms + 60_000)
    assert sorted(bare.fired) == expected
    bare.running.cancel()


async def test_many_alarms_of_one_moment_all_fire() -> None:
    bare = Bare(alarms_max=10)
    now_ms = bare.clock.now_ms()
    for n in range(2_500):
        bare.write(f"b{n}", now_ms + 5_000)
    # One millisecond for each page that there was no room for.
    await bare.pass_until(now_ms + 5_003)
    assert {ms for ms, _ in bare.fired} <= {now_ms + 5_000 + late for late in range(4)}
    assert len({name for _, name in bare.fired}) == 2_500
    bare.running.cancel()


async def test_alarms_that_come_while_there_is_no_room_fire_in_time() -> None:
    bare = Bare(alarms_max=10)
    await settle()
    now_ms = bare.clock.now_ms()
    expected: list[tuple[int, str]] = []
    for n in range(200):
        due_ms = now_ms + 1_000 + n * 37 % 5_000
        bare.timers.moved(bare.write(f"c{n}", due_ms), due_ms)
        expected.append((due_ms, f"c{n}"))
    assert len(bare.timers) == 10
    await bare.pass_until(now_ms + 10_000)
    assert sorted(bare.fired) == sorted(expected)
    bare.running.cancel()


async def test_what_moved_while_timers_are_read_fires_at_its_new_time() -> None:
    bare = Bare()
    now_ms = bare.clock.now_ms()
    key = bare.write("d", now_ms + 30_000)
    # The read has seen the old alarm; then it moves.
    await asyncio.sleep(0)
    assert bare.write("d", now_ms + 5_000) == key
    bare.timers.moved(key, now_ms + 5_000)
    await bare.pass_until(now_ms + 40_000)
    assert bare.fired[0] == (now_ms + 5_000, "d")
    bare.running.cancel()


async def test_what_was_read_before_a_reload_is_not_believed_after_it() -> None:
    bare = Bare()
    now_ms = bare.clock.now_ms()
    bare.write("e", now_ms + 30_000)
    # The read has seen the old alarm; a commit without an answer moves it; the node reloads.
    await asyncio.sleep(0)
    bare.write("e", now_ms + 5_000)
    bare.timers.reset()
    await bare.pass_until(now_ms + 40_000)
    assert bare.fired == [(now_ms + 5_000, "e")]
    bare.running.cancel()
