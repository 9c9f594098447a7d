"""Backoff: waits between attempts start short, double, and stay below a bound."""

import pytest

from perdure_host.backoff import BACKOFF_MS_FIRST, backoff_ms

MS_MAX = 1_000


@pytest.mark.parametrize("random_unit", [0.0, 0.5, 0.999])
def test_the_first_wait_is_short(random_unit: float) -> None:
    assert BACKOFF_MS_FIRST / 2 <= backoff_ms(1, random_unit, ms_max=MS_MAX) <= BACKOFF_MS_FIRST


def test_waits_double_up_to_the_bound() -> None:
    assert [backoff_ms(n, 0.0, ms_max=MS_MAX) * 2 for n in (1, 2, 3, 5, 6, 1_000_000)] == [
        50,
        100,
        200,
        800,
        MS_MAX,
        MS_MAX,
    ]


def test_at_most_half_of_a_wait_is_random() -> None:
    assert backoff_ms(3, 1.0, ms_max=MS_MAX) == 2 * backoff_ms(3, 0.0, ms_max=MS_MAX)
