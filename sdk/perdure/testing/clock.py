"""What time it is in a test.

Virtual time stands still while anything runs, and moves only when a test waits for something that
needs time; so histories of one program are alike to the millisecond, and a year costs nothing.
"""

import time
from typing import Final

# 2026-01-01T00:00:00Z: any moment would do, but it has to be the same one in every run.
VIRTUAL_START_MS: Final = 1_767_225_600_000


class VirtualClock:
    """A number that jumps."""

    skips = True

    def __init__(self) -> None:
        self._now_ms = VIRTUAL_START_MS

    def now_ms(self) -> int:
        """Return the moment, in milliseconds since 1970."""
        return self._now_ms

    def jump(self, to_ms: int) -> None:
        """Let time pass at once; it never goes back."""
        self._now_ms = max(self._now_ms, to_ms)


class SystemClock:
    """The time that everybody else has, for tests that want to wait."""

    skips = False

    def now_ms(self) -> int:
        """Return the moment, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000


Clock = VirtualClock | SystemClock
