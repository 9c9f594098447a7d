"""Waits before retries: doubling, with jitter, so that clients and workers do not retry in step."""

from typing import Final

# Short, because most breaks are: a server restarts, a node hands over.
BACKOFF_MS_FIRST: Final = 50
# Beyond this many doublings every bound is reached.
_DOUBLINGS_MAX: Final = 20


def backoff_ms(failures: int, random_unit: float, *, ms_max: int) -> float:
    """Return the wait after `failures` failures in a row, at most `ms_max`.

    `random_unit` is drawn from [0, 1): half of each wait is fixed, half is random.
    """
    assert failures > 0
    whole = min(ms_max, BACKOFF_MS_FIRST << min(failures - 1, _DOUBLINGS_MAX))
    return whole / 2 + whole / 2 * random_unit
