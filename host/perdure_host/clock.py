"""The wall clock: the only source of the current time.

Must stay true: time never goes backwards within a process, and a wait never ends early. Operators
and NTP may set the system's clock back; then this clock advances with the monotonic clock until
the system's has caught up.
"""

import asyncio
import time
from typing import Final

from perdure_host.ports import Clock

_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1_000

# The event loop uses monotonic time, which stops while the machine sleeps and does not notice when
# the clock is set forward. A long wait checks the clock this often, so it is late by at most this.
WAIT_SLICE_MS_MAX: Final = 10_000


class WallClock(Clock):
    """Milliseconds since 1970, in UTC, by this machine's clock."""

    def __init__(self) -> None:
        self._wall_ns = time.time_ns()
        self._monotonic_ns = time.monotonic_ns()

    def now_ms(self) -> int:
        wall_ns = time.time_ns()
        monotonic_ns = time.monotonic_ns()
        if wall_ns < self._wall_ns:
            wall_ns = self._wall_ns + monotonic_ns - self._monotonic_ns
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        return wall_ns // _NS_PER_MS

    async def wait_until(self, due_ms: int) -> None:
        # There is no event to wait for: only polling notices a change of the system's clock.
        while (rest_ms := due_ms - self.now_ms()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(rest_ms, WAIT_SLICE_MS_MAX) / _MS_PER_S)
