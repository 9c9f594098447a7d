"""The clock of this machine."""

import time


def system_now_ms() -> int:
    """Return the time of this machine, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
