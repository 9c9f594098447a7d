"""How long a node may rely on its lease, by a clock of this machine that cannot be set.

The database holds the lease; this is what the node knows of it. It counts from the moment at which
it asked, not from the answer, so here the lease always ends before another node may take over.
"""

import time
from collections.abc import Callable
from typing import Final

# Linux has it; the usual monotonic clock stops while the machine is suspended.
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
# The part of a lease that is left unused, for what is on its way when it ends.
_MARGIN: Final = 0.1


def uptime_s() -> float:
    """Return the time since the machine started, in seconds, that of a suspension included."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class LeaseGuard:
    """Knows whether the lease may have lapsed. Before it is held for the first time, it has not."""

    def __init__(self, lease_ms: int, now_s: Callable[[], float] = uptime_s) -> None:
        self._serve_s = lease_ms / 1_000 * (1 - _MARGIN)
        self._now_s = now_s
        self._until_s: float | None = None

    def asking(self) -> float:
        """Return the time to hand to `renewed` once the database has extended the lease."""
        return self._now_s()

    def renewed(self, asked_s: float) -> None:
        """Count the lease from the moment at which it was asked for."""
        self._until_s = asked_s + self._serve_s

    @property
    def is_over(self) -> bool:
        """Return whether the node must not serve any more until it has renewed the lease."""
        return self._until_s is not None and self._now_s() >= self._until_s
