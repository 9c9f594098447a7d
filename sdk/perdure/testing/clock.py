"""Clocks of tests: virtual time, and the system's.

Virtual time stands still while anything runs, and advances only when a test waits for something
that needs time; so histories of one program are equal to the millisecond, and a year takes no time.
"""

import time
from typing import Final

# 2026-01-01T00:00:00Z: an arbitrary time, but the same in every run.
VIRTUAL_START_MS: Final = 1_767_225_600_000


class VirtualClock:
    """Virtual time, which advances by jumps."""

    skips = True

    def __init__(self) -> None:
        self._now_ms = VIRTUAL_START_MS

    def now_ms(self) -> int:
        """Return the current time, in milliseconds since 1970."""
        return self._now_ms

    def jump(self, to_ms: int) -> None:
        """Advance to a later time; an earlier one is ignored."""
        self._now_ms = max(self._now_ms, to_ms)


class SystemClock:
    """Real time, for tests that wait."""

    skips = False

    def now_ms(self) -> int:
        """Return the current time, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000


Clock = VirtualClock | SystemClock
