"""The machine's clocks, and the clock of a node that is made of them.

A wall clock can be set: by operators, by NTP, by whatever moves a virtual machine. So a node reads
it once, when it starts, and counts on with the monotonic clock. Must stay true: the time of a node
passes at the rate at which time passes, whatever becomes of the wall clock; it never goes
backwards; and no wait ends early.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from perdure_host.ports import Clock

_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1_000

# The event loop's clock stops while a machine is suspended. A long wait looks at the clock this
# often, so after a suspension it is late by at most this.
WAIT_SLICE_MS_MAX: Final = 10_000


class MachineClock(Protocol):
    """What a machine knows of time, in milliseconds."""

    def now_ms(self) -> int:
        """Return the time since 1970 in UTC by the wall clock, which can be set at any moment."""
        ...

    def monotonic_ms(self) -> int:
        """Return the time since some moment in the past. It cannot be set."""
        ...

    async def sleep_ms(self, ms: int) -> None:
        """Return after this time, or after less of it: look at the clock again."""
        ...


class WallClock(MachineClock):
    """The clocks of this machine. The monotonic one counts the time of a suspension too."""

    def now_ms(self) -> int:
        return time.time_ns() // _NS_PER_MS

    def monotonic_ms(self) -> int:
        return _monotonic_ns() // _NS_PER_MS

    async def sleep_ms(self, ms: int) -> None:
        await asyncio.sleep(ms / _MS_PER_S)


class SteadyClock(Clock):
    """The time of a node: the wall clock's when it was made, counted on by the monotonic clock.

    A node on a database with a clock of its own takes over the time of that before it serves, since
    other nodes on other machines read the same timers.
    """

    def __init__(self, machine: MachineClock | None = None) -> None:
        """Read the wall clock. `machine` is this machine's clocks by default."""
        self._machine = machine or WallClock()
        self._offset_ms = self._machine.now_ms() - self._machine.monotonic_ms()
        # Where the wall clock of this machine was at the start.
        self._wall_offset_ms = self._offset_ms

    def now_ms(self) -> int:
        return self._machine.monotonic_ms() + self._offset_ms

    async def wait_until(self, due_ms: int) -> None:
        # A sleep may end early, and after a suspension late: only the clock tells.
        while (rest_ms := due_ms - self.now_ms()) > 0:
            await self._machine.sleep_ms(min(rest_ms, WAIT_SLICE_MS_MAX))

    def follow(self, now_ms: int) -> int:
        """Set the clock to this time; return by how much it was ahead. Not while serving."""
        ahead_ms = now_ms - self.now_ms()
        self._offset_ms += ahead_ms
        return ahead_ms

    def wall_ahead_ms(self) -> int:
        """Return by how much the wall clock was set forward since; negative if it was set back."""
        return self._machine.now_ms() - self._machine.monotonic_ms() - self._wall_offset_ms


def _monotonic_clock() -> Callable[[], int]:
    """Return the monotonic clock that goes on while the machine is suspended, where there is one.

    Linux has it under a name of its own. On macOS it is CLOCK_MONOTONIC, which `time.monotonic`
    does not read there.
    """
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        number = getattr(time, name, None)
        if number is not None:
            return partial(time.clock_gettime_ns, number)
    return time.monotonic_ns


_monotonic_ns: Final = _monotonic_clock()
