"""Overload: more callers than the system can serve, and what becomes of them.

    python -m benchmarks.overload [SECONDS]

The peak is measured with callers that start the next execution when the last has ended. Then starts
arrive at a multiple of it, whether the earlier ones have ended or not, each from a caller of its
own with a patience of PATIENCE_S. Callers, server and worker share this machine, as they do while
the peak is measured.
"""

import asyncio
import contextlib
import statistics
import sys
import time
from collections import Counter
from typing import Final

from benchmarks.throughput import executions, machine, percentiles
from perdure import AsyncClient
from perdure.client.errors import ClientError
from tests.system.processes import Machine

CALLERS: Final = 256
FACTORS: Final = (1.3, 3.0)
MEASURED_S: Final = 60.0
PATIENCE_S: Final = 5.0
TICK_S: Final = 0.01
# Afterwards executions run one by one, and the latency is back when one takes at most this much
# longer than before.
BACK_FACTOR: Final = 3.0
BACK_S_MAX: Final = 120.0
PROBES: Final = 20
FUNCTION: Final = "three_steps"


class Callers:
    """Callers that run one execution each, and what became of them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._calls: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.waiting_max = 0
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def arrive(self, per_s: float, phase_s: float) -> float:
        """Let callers arrive at a rate; return how long that took, in seconds."""
        began_s = time.monotonic()
        while (spent_s := time.monotonic() - began_s) < phase_s:
            for _ in range(int(spent_s * per_s) - self.sent):
                call = asyncio.ensure_future(self._call())
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                self.sent += 1
            self.waiting_max = max(self.waiting_max, len(self._calls))
            await asyncio.sleep(TICK_S)
        return time.monotonic() - began_s

    async def leave(self) -> None:
        """Return when none waits any more."""
        await asyncio.gather(*self._calls)

    async def _call(self) -> None:
        began_s = time.perf_counter()
        try:
            await self._client.run(FUNCTION, 0)
        except ClientError as error:
            code = getattr(error.__cause__, "code", None)
            # Without a cause, the client itself held the start back.
            self.outcomes["held back" if code is None else code().name] += 1
        else:
            self.outcomes["completed"] += 1
            self.seconds.append(time.perf_counter() - began_s)


async def overload(running: Machine, callers: Callers, per_s: float, phase_s: float) -> float:
    """Offer starts at a rate; print what became of them, and return how many a second ended."""
    alone_s = statistics.median([await _alone_s(running) for _ in range(PROBES)])
    ended_before = await _ended(running)
    took_s = await callers.arrive(per_s, phase_s)
    ended_per_s = (await _ended(running) - ended_before) / took_s
    print(f"  of {callers.sent:,} callers meanwhile: {_counted(callers.outcomes)}")
    back_s, last_s = await _back(running, BACK_FACTOR * alone_s)
    print(f"  one alone took {alone_s * 1_000:.0f} ms; {back_s:.1f} s after, {last_s * 1_000:.0f}")
    await callers.leave()
    print(f"  in the end: {_counted(callers.outcomes)}; at most {callers.waiting_max:,} waited")
    if len(callers.seconds) > 1:
        print(f"  completed after {percentiles(callers.seconds)}")
    print(f"  memory of the server: {running.memory_bytes() / 1e6:,.0f} MB")
    return ended_per_s


async def main(phase_s: float = MEASURED_S) -> None:
    """Print the peak, and what becomes of more than that."""
    with machine(None) as running:
        async with running.async_client(PATIENCE_S) as client:
            await executions(client, CALLERS)
            peak = await executions(client, CALLERS)
            print(f"peak, {CALLERS} callers in a closed loop: {peak}", flush=True)
            for factor in FACTORS:
                print(f"{factor:g} x the peak for {phase_s:g} s", flush=True)
                per_s = await overload(running, Callers(client), peak.per_s * factor, phase_s)
                print(
                    f"  completed {per_s:,.0f}/s, {per_s / peak.per_s:.0%} of the peak", flush=True
                )
        refused = (await asyncio.to_thread(running.metrics)).value("perdure_refused_calls_total")
        print(f"refused by the server: {refused:,.0f}")


async def _ended(running: Machine) -> float:
    return (await asyncio.to_thread(running.metrics)).value("perdure_executions_ended_total")


async def _alone_s(running: Machine) -> float:
    """Return how long one execution takes, whatever becomes of it, for a client of its own."""
    began_s = time.perf_counter()
    async with running.async_client(PATIENCE_S) as client:
        with contextlib.suppress(ClientError):
            await client.run(FUNCTION, 0)
    return time.perf_counter() - began_s


async def _back(running: Machine, fast_s: float) -> tuple[float, float]:
    """Return after how many seconds one execution alone is fast again, and how fast it was."""
    began_s = time.monotonic()
    while (took_s := await _alone_s(running)) > fast_s and (
        time.monotonic() - began_s < BACK_S_MAX
    ):
        pass
    return time.monotonic() - began_s, took_s


def _counted(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:])))
