"""Attended time: time during which this process was there to hear others.

A process that was stopped, suspended or held up finds on waking that all others have been silent
for as long, although what they sent lies there unread. So the silence of others is measured in
attended time, of which a pause of this process is hardly any.

Must stay true: of the time between two looks at the clock at most `gap_ms_max` counts, so a
verdict in attended time leaves the rest of it to read what was waiting.
"""

from collections.abc import Callable
from typing import Final

from perdure_host.ports import Clock

# How often `run` looks at the clock, and how much of the time between two looks counts.
LOOK_MS: Final = 250
GAP_MS_MAX: Final = 500
# A gap of this length is reported as a pause: others may have given this process up.
PAUSE_MS_MIN: Final = 2_000


class Attention:
    """Counts attended time. `run` looks at the clock, and so does each call."""

    def __init__(
        self,
        clock: Clock,
        *,
        gap_ms_max: int = GAP_MS_MAX,
        on_pause: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start at 0. `on_pause` is called with the length of each pause, in milliseconds."""
        self._clock = clock
        self._gap_ms_max = gap_ms_max
        self._on_pause = on_pause
        self._attended_ms = 0
        self._looked_ms = clock.now_ms()

    def now_ms(self) -> int:
        """Return the time that this process has attended so far, in milliseconds."""
        now_ms = self._clock.now_ms()
        gap_ms = now_ms - self._looked_ms
        self._looked_ms = now_ms
        self._attended_ms += min(gap_ms, self._gap_ms_max)
        if gap_ms >= PAUSE_MS_MIN:
            self._on_pause(gap_ms)
        return self._attended_ms

    async def run(self) -> None:
        """Run until cancelled, looking at the clock."""
        while True:
            await self._clock.wait_until(self._clock.now_ms() + LOOK_MS)
            self.now_ms()

    async def wait_ms(self, ms: int) -> None:
        """Return once so much time has been attended."""
        due_ms = self.now_ms() + ms
        while (rest_ms := due_ms - self.now_ms()) > 0:
            await self._clock.wait_until(self._clock.now_ms() + min(rest_ms, LOOK_MS))
