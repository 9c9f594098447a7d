"""Durations as text, in the two largest units."""

from datetime import timedelta

import pytest

from perdure.primitives.timeline import format_duration, format_offset


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (3.24, "3.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3_600, "1 h 00 min"),
        (100_000, "1 d 3 h"),
        (-5, "0 ms"),
    ],
)
def test_a_duration_is_written_in_its_units(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


def test_an_offset_is_exact_while_it_is_short() -> None:
    assert format_offset(timedelta(seconds=75.25)) == "+75.250 s"
    assert format_offset(timedelta(hours=30)) == "+1 d 6 h"
