"""Exponential delays, and their jitter.

As in the AWS Lambda durable execution SDK for Python 3.0.
"""

import math
import random
from enum import StrEnum

__all__ = ["JitterStrategy"]


class JitterStrategy(StrEnum):
    """Random share of a delay, so that many failures are not retried at the same time.

    NONE: the whole delay. FULL: anything from zero to the delay. HALF: from half of the delay to
    all of it.
    """

    NONE = "NONE"
    FULL = "FULL"
    HALF = "HALF"

    def apply_jitter(self, delay: float) -> float:
        """Return `delay`, in seconds, with a random share."""
        return self.jittered(delay, random.random())  # noqa: S311 - spreads load, guards nothing

    def jittered(self, delay: float, random_unit: float) -> float:
        """Return `delay` for a random number from 0 to 1."""
        match self:
            case JitterStrategy.NONE:
                return delay
            case JitterStrategy.FULL:
                return delay * random_unit
            case JitterStrategy.HALF:
                return delay / 2 + delay / 2 * random_unit

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
