"""The clock: time goes forward only, and no wait ends early."""

import asyncio
from types import SimpleNamespace

import pytest

from perdure_host.clock import WallClock


def test_the_clock_goes_on_when_the_system_sets_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_ns, monotonic_ns = 5_000_000_000, 0
    machine = SimpleNamespace(time_ns=lambda: wall_ns, monotonic_ns=lambda: monotonic_ns)
    monkeypatch.setattr("perdure_host.clock.time", machine)
    wall_clock = WallClock()
    assert wall_clock.now_ms() == 5_000
    wall_ns, monotonic_ns = 1_000_000_000, 250_000_000
    assert wall_clock.now_ms() == 5_250
    wall_ns, monotonic_ns = 6_000_000_000, 300_000_000
    assert wall_clock.now_ms() == 6_000


def test_a_wait_ends_when_it_is_due_and_not_before() -> None:
    wall_clock = WallClock()
    due_ms = wall_clock.now_ms() + 5

    async def wait() -> None:
        async with asyncio.timeout(5):
            await wall_clock.wait_until(due_ms)

    asyncio.run(wait())
    assert wall_clock.now_ms() >= due_ms


def test_a_time_in_the_past_is_not_waited_for() -> None:
    wall_clock = WallClock()
    waiting = wall_clock.wait_until(wall_clock.now_ms() - 1)
    with pytest.raises(StopIteration):
        waiting.send(None)
