"""The clock of a node: time passes evenly whatever the wall clock does, and no wait ends early."""

import asyncio

from structlog.testing import capture_logs

from perdure_host.clock import SteadyClock, WallClock
from perdure_host.clock_watch import ClockWatch
from perdure_host.metrics import ServerMetrics

DAY_MS = 86_400_000


class Machine(WallClock):
    """Clocks that a test sets. A sleep takes its time, or none of it."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.monotonic = 5_000
        self.slept_ms: list[int] = []
        self.wakes_early = 0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_ms(self) -> int:
        return self.monotonic

    async def sleep_ms(self, ms: int) -> None:
        self.slept_ms.append(ms)
        if self.wakes_early:
            self.wakes_early -= 1
        else:
            self.monotonic += ms


def test_a_wall_clock_that_is_set_moves_no_time() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    began_ms = clock.now_ms()
    assert began_ms == machine.wall_ms
    for ahead_ms in (DAY_MS, -DAY_MS, 0):
        machine.wall_ms = began_ms + ahead_ms
        machine.monotonic += 1_000
        assert clock.now_ms() == began_ms + 1_000
        assert clock.wall_ahead_ms() == ahead_ms - 1_000
        machine.monotonic -= 1_000


def test_a_wait_ends_when_its_time_has_passed_whatever_the_wall_clock_says() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    began_ms = machine.monotonic
    machine.wall_ms += DAY_MS
    machine.wakes_early = 2
    asyncio.run(clock.wait_until(clock.now_ms() + 25_000))
    assert machine.monotonic == began_ms + 25_000
    assert machine.slept_ms == [10_000, 10_000, 10_000, 10_000, 5_000]


def test_the_time_of_a_database_is_kept_and_is_no_step_of_the_wall_clock() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    assert clock.follow(machine.wall_ms - DAY_MS) == -DAY_MS
    machine.monotonic += 1_000
    machine.wall_ms += 1_000
    assert clock.now_ms() == machine.wall_ms - DAY_MS
    assert clock.wall_ahead_ms() == 0
    machine.wall_ms += DAY_MS
    assert clock.now_ms() == machine.wall_ms - 2 * DAY_MS
    assert clock.wall_ahead_ms() == DAY_MS


def test_a_time_in_the_past_is_not_waited_for() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    asyncio.run(clock.wait_until(clock.now_ms()))
    assert machine.slept_ms == []


def test_this_machines_clocks_go_forward() -> None:
    clock = SteadyClock()
    due_ms = clock.now_ms() + 5

    async def wait() -> None:
        async with asyncio.timeout(5):
            await clock.wait_until(due_ms)

    asyncio.run(wait())
    assert clock.now_ms() >= due_ms


def test_a_step_of_the_wall_clock_is_logged_once_and_shown_by_a_metric() -> None:
    machine, metrics = Machine(), ServerMetrics()
    watch = ClockWatch(SteadyClock(machine), metrics)
    with capture_logs() as logs:
        for wall_ms in (0, DAY_MS, 0, 100, -DAY_MS):
            machine.wall_ms += wall_ms
            asyncio.run(watch.check())
    lines = [(line["log_level"], line.get("wall_clock_ahead_ms")) for line in logs]
    assert lines == [("warning", DAY_MS), ("info", None)]
    value = metrics.registry.get_sample_value("perdure_wall_clock_ahead_seconds")
    assert value == 0.1
