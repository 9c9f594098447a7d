"""Admission by measured delay: what a node that is behind with its work refuses, and for how long.

Pure. As in CoDel, a delay counts once it has stood above its target for a while: a burst that is
worked off is no overload, and a delay that falls below the target once is over. What is under way
goes first: starts are refused long before callbacks, and what workers send never is.
"""

from enum import StrEnum
from math import ceil
from typing import Final


class Kind(StrEnum):
    """What can be refused, the first one first."""

    START = "start"
    CALLBACK = "callback"


# How far behind a node may be for long before this kind of call is refused.
TARGET_S: Final = {Kind.START: 0.5, Kind.CALLBACK: 2.0}
# From here on a node has no time left, and each further start delays those that run.
BUSY_S: Final = 0.05
# How long a delay must stand.
STANDING_S: Final = 1.0
# How long a start may have to wait for a worker, and how many wait all the same.
QUEUE_S_MAX: Final = 2.0
QUEUED_STARTS_MIN: Final = 500
RETRY_AFTER_S_MAX: Final = 30
# Successive multiples of it, modulo 1, are spread evenly.
_GOLDEN: Final = 0.618_033_988_749_895


class StandingDelay:
    """Whether a delay stands above a target."""

    def __init__(self, target_s: float) -> None:
        self._target_s = target_s
        self._above_since_s: float | None = None

    def measured(self, delay_s: float, now_s: float) -> None:
        """Note a delay."""
        if delay_s < self._target_s:
            self._above_since_s = None
        elif self._above_since_s is None:
            self._above_since_s = now_s

    def stands(self, now_s: float) -> bool:
        """Return whether every delay for long enough was at least the target."""
        return self._above_since_s is not None and now_s - self._above_since_s >= STANDING_S


class DelayGate:
    """Decides which calls are refused. Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._standing = {kind: StandingDelay(target_s) for kind, target_s in TARGET_S.items()}
        self._busy = StandingDelay(BUSY_S)
        self.delay_s = 0.0
        self._second: int = 0
        # Of the last whole second, and of the current one.
        self._admitted = self._admitted_now = 0
        self._refused = self._refused_now = 0
        self._spread = 0.0

    def measured(self, delay_s: float, now_s: float) -> None:
        """Note how far behind the node is, in seconds."""
        self.delay_s = delay_s
        for standing in (*self._standing.values(), self._busy):
            standing.measured(delay_s, now_s)

    def is_behind(self, kind: Kind, now_s: float) -> bool:
        """Return whether calls of this kind are refused."""
        return self._standing[kind].stands(now_s)

    def is_too_long(self, queued: int, wait_s: float, now_s: float, *, waits: bool) -> bool:
        """Return whether a start is refused because so many others wait for a worker before it.

        A start whose caller does not wait for the end may wait for long, unless the node is busy:
        its turn comes, and until then it costs nothing.
        """
        is_long = queued >= QUEUED_STARTS_MIN and wait_s >= QUEUE_S_MAX
        return is_long and (waits or self._busy.stands(now_s))

    def admit(self, now_s: float) -> None:
        """Note an admitted call."""
        self._turn(now_s)
        self._admitted_now += 1

    def refuse(self, now_s: float) -> int:
        """Note a refused call; return the seconds after which it may be tried again.

        They grow with the number of the refused, so that these, coming back, are no more than can
        be served, and differ from call to call, so that they do not all come back together.
        """
        self._turn(now_s)
        self._refused_now += 1
        self._spread = (self._spread + _GOLDEN) % 1.0
        refused = max(self._refused, self._refused_now)
        admitted = max(self._admitted, self._admitted_now, 1)
        after_s = (1.0 + refused / admitted) * (0.5 + self._spread)
        return min(RETRY_AFTER_S_MAX, max(1, ceil(after_s)))

    def _turn(self, now_s: float) -> None:
        second = int(now_s)
        if second == self._second:
            return
        is_next = second == self._second + 1
        self._admitted = self._admitted_now if is_next else 0
        self._refused = self._refused_now if is_next else 0
        self._admitted_now = self._refused_now = 0
        self._second = second
