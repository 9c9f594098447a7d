"""Decides when to speak for a worker that is silent.

A worker beats while its interpreter runs its event loop. When a beat is late, the interpreter is
held: by a regular expression, by native code that does not release the lock. Then another process
sends the heartbeats, for HELD_S_MAX at most: what takes longer counts as stuck, and is run again
elsewhere.
"""

from typing import Final

# What holds the interpreter for longer is not waited for.
HELD_S_MAX: Final = 600.0
# A beat is late after so many of its intervals.
LATE_INTERVALS: Final = 1.5


class HeldWatch:
    """When the last beat came, and whether it is time to send a heartbeat instead of the worker."""

    def __init__(self, interval_s: float, now_s: float) -> None:
        self.interval_s = interval_s
        self._beat_s = now_s

    def beat(self, now_s: float) -> None:
        """Note a beat."""
        self._beat_s = now_s

    def next_check_s(self, now_s: float) -> float:
        """Return after how many seconds without a beat to look again; at least 0."""
        held_s = now_s - self._beat_s
        late_s = LATE_INTERVALS * self.interval_s
        return max(0.0, late_s - held_s) if held_s < late_s else self.interval_s

    def speaks(self, now_s: float) -> bool:
        """Return whether a heartbeat is due that the worker cannot send itself."""
        held_s = now_s - self._beat_s
        return LATE_INTERVALS * self.interval_s <= held_s <= HELD_S_MAX
