"""Watches how far the machine's wall clock moves away from the time of this node, and says so."""

from typing import Final

from perdure_host.clock import SteadyClock
from perdure_host.metrics import ServerMetrics
from perdure_host.telemetry import open_log

# How often the clocks are compared.
CLOCK_CHECK_S: Final = 10.0
# NTP slews both clocks alike; they differ by more than this only when the wall clock was set.
STEP_MS_MIN: Final = 1_000

_log = open_log("perdure.node")


class ClockWatch:
    """Logs each step of the wall clock once. A metric shows the difference at any moment."""

    def __init__(self, clock: SteadyClock, metrics: ServerMetrics) -> None:
        self._clock = clock
        self._known_ms = 0
        metrics.wall_clock_ahead_seconds.set_function(lambda: clock.wall_ahead_ms() / 1_000)

    async def check(self) -> None:
        """Log whether the wall clock was set since the last call."""
        ahead_ms = self._clock.wall_ahead_ms()
        if abs(ahead_ms - self._known_ms) < STEP_MS_MIN:
            return
        self._known_ms = ahead_ms
        if abs(ahead_ms) < STEP_MS_MIN:
            _log.info("the wall clock is right again by the time of this server")
        else:
            _log.warning(
                "the wall clock was set; this server keeps its own time until it is restarted",
                wall_clock_ahead_ms=ahead_ms,
            )
