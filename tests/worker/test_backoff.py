"""Waits between attempts: they start short, double, and end at a bound."""

import pytest

from perdure_worker.session.backoff import BACKOFF_MS_MAX, BACKOFF_MS_MIN, backoff_ms


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_the_first_wait_is_short(chance: float) -> None:
    assert BACKOFF_MS_MIN / 2 <= backoff_ms(1, chance) <= BACKOFF_MS_MIN


def test_waits_double_up_to_the_bound() -> None:
    assert [backoff_ms(n, 0.0) * 2 for n in (1, 2, 3, 6, 1_000_000)] == [
        50,
        100,
        200,
        BACKOFF_MS_MAX,
        BACKOFF_MS_MAX,
    ]
