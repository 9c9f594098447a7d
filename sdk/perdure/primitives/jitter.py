"""How delays grow, and how much of one is left to chance.

As in the AWS Lambda durable execution SDK for Python 3.0.
"""

import math
import random
from enum import StrEnum

__all__ = ["JitterStrategy"]


class JitterStrategy(StrEnum):
    """How much of a delay is left to chance, so that many failures do not come back at once.

    NONE: the whole delay. FULL: anywhere between nothing and the delay. HALF: between half and all
    of it.
    """

    NONE = "NONE"
    FULL = "FULL"
    HALF = "HALF"

    def apply_jitter(self, delay: float) -> float:
        """Return `delay`, in seconds, with this share of chance."""
        return self.jittered(delay, random.random())  # noqa: S311 - spreads load, guards nothing

    def jittered(self, delay: float, chance: float) -> float:
        """Return `delay` for a given `chance` between 0 and 1."""
        match self:
            case JitterStrategy.NONE:
                return delay
            case JitterStrategy.FULL:
                return delay * chance
            case JitterStrategy.HALF:
                return delay / 2 + delay / 2 * chance

    def finalize_delay(self, base_delay: float) -> int:
        """Return the whole seconds to wait: jittered, rounded up, at least 1."""
        return max(1, math.ceil(self.apply_jitter(base_delay)))


def exponential_delay_s(initial_s: float, rate: float, attempt: int, max_s: float) -> float:
    """Return `initial_s × rate^(attempt − 1)`, at most `max_s`; `attempt` counts from 1."""
    # Growth without a bound overflows a float after about a thousand attempts.
    try:
        return min(initial_s * rate ** (attempt - 1), max_s)
    except OverflowError:
        return max_s
