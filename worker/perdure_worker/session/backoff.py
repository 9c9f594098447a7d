"""How long to wait before trying again: doubling, with jitter lest workers march in step."""

from typing import Final

BACKOFF_MS_MIN: Final = 50
BACKOFF_MS_MAX: Final = 1_000
# Beyond this many doublings the bound is reached anyway.
_DOUBLINGS_MAX: Final = 10


def backoff_ms(failures: int, chance: float) -> float:
    """Return the wait after `failures` failures in a row; `chance` is drawn from [0, 1).

    The first waits are short because most breaks are: a server restarts, a node hands over. Half of
    each wait is fixed, half is drawn.
    """
    assert failures > 0
    whole = min(BACKOFF_MS_MAX, BACKOFF_MS_MIN << min(failures - 1, _DOUBLINGS_MAX))
    return whole / 2 + whole / 2 * chance
