"""Attended time: a pause of this process is hardly any of it, whatever its length."""

import asyncio

from perdure_host.attention import GAP_MS_MAX, LOOK_MS, PAUSE_MS_MIN, Attention
from tests.history.manual_clock import ManualClock, settle


async def listen_ms(clock: ManualClock, ms: int) -> None:
    """Pass time in steps in which a process that runs looks at the clock."""
    for _ in range(ms // LOOK_MS):
        clock.advance(LOOK_MS)
        await settle()


async def test_time_counts_while_the_process_runs() -> None:
    clock = ManualClock()
    attention = Attention(clock)
    running = asyncio.ensure_future(attention.run())
    await settle()
    await listen_ms(clock, 60_000)
    assert attention.now_ms() == 60_000
    running.cancel()


async def test_a_pause_hardly_counts_and_is_told() -> None:
    clock = ManualClock()
    pauses: list[int] = []
    attention = Attention(clock, on_pause=pauses.append)
    clock.advance(PAUSE_MS_MIN - 1)
    assert attention.now_ms() == GAP_MS_MAX
    clock.advance(3_600_000)
    assert attention.now_ms() == 2 * GAP_MS_MAX
    assert attention.now_ms() == 2 * GAP_MS_MAX
    assert pauses == [3_600_000]


async def test_a_wait_that_a_pause_interrupts_goes_on_after_it() -> None:
    clock = ManualClock()
    attention = Attention(clock)
    waiting = asyncio.ensure_future(attention.wait_ms(1_000))
    await settle()
    clock.advance(60_000)
    await settle()
    assert not waiting.done()
    await listen_ms(clock, 1_000 - GAP_MS_MAX - LOOK_MS)
    assert not waiting.done()
    await listen_ms(clock, LOOK_MS)
    assert waiting.done()
