"""Throttle of a client's starts: while the server refuses them, most are not even sent.

A server that is overloaded spends as much on refusing many as on serving some. So a client that was
refused sends about FACTOR times as many starts as were accepted of late, and holds back the others,
each for as long as the server wanted it to wait. No caller waits longer for that than its patience.

Pure. Threads may share it: counts that are a little off do no harm.
"""

from collections.abc import Callable
from typing import Final

from perdure.client.errors import ResourceExhaustedError

FACTOR: Final = 1.3
# What is older than two of these is forgotten.
PERIOD_S: Final = 2.0
RETRY_AFTER_S_MAX: Final = 30.0


class StartThrottle:
    """Counts what became of the starts of one client."""

    def __init__(self) -> None:
        self._period: int = 0
        # Of the last period, and of the current one: those asked for, and those accepted.
        self._asked: int = 0
        self._asked_now: int = 0
        self._accepted: int = 0
        self._accepted_now: int = 0
        self._refusal: ResourceExhaustedError | None = None

    def check(self, now_s: float, random_unit: Callable[[], float]) -> None:
        """Raise ResourceExhaustedError, as the server did last, for a start to be held back."""
        self._turn(now_s)
        refusal = self._refusal
        if refusal is None:
            return
        asked = self._asked + self._asked_now
        accepted = self._accepted + self._accepted_now
        if random_unit() * (asked + 1) < asked - FACTOR * accepted:
            held_back = ResourceExhaustedError(*refusal.args)
            # The more there are, the longer each waits.
            per_accepted = asked / max(accepted, 1)
            held_back.retry_after_s = min(
                RETRY_AFTER_S_MAX, (refusal.retry_after_s or 1.0) * per_accepted
            )
            held_back.was_sent = False
            raise held_back

    def accepted(self, now_s: float) -> None:
        """Note a start that the server has accepted."""
        self._turn(now_s)
        self._asked_now += 1
        self._accepted_now += 1

    def refused(self, error: ResourceExhaustedError, now_s: float) -> None:
        """Note a start that the server has refused, or that was held back."""
        self._turn(now_s)
        self._asked_now += 1
        if error.was_sent:
            self._refusal = error

    def _turn(self, now_s: float) -> None:
        period = int(now_s / PERIOD_S)
        if period == self._period:
            return
        is_next = period == self._period + 1
        self._asked = self._asked_now if is_next else 0
        self._accepted = self._accepted_now if is_next else 0
        self._asked_now = self._accepted_now = 0
        self._period = period
        if self._asked == self._accepted:
            self._refusal = None
