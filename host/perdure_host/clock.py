"""The wall clock: the one place where the present moment comes from.

Must stay true: time never goes backwards within a process, and a wait never ends early. Operators
and NTP may set the system's clock back; then ours goes on at the pace of the monotonic clock until
the system's has caught up.
"""

import asyncio
import time
from typing import Final

from perdure_host.ports import Clock

_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1_000

# The event loop counts monotonic time, which stands still while the machine sleeps and takes no
# notice when the clock is set forward. A long wait looks at the clock this often, to be late by no
# more than this.
WAIT_SLICE_MS_MAX: Final = 10_000


class WallClock(Clock):
    """Milliseconds since 1970, in UTC, as this machine has them."""

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
        # Nothing can be set when a moment comes; asking again is the only way.
        while (rest_ms := due_ms - self.now_ms()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(rest_ms, WAIT_SLICE_MS_MAX) / _MS_PER_S)
