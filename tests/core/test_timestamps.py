"""Conversion of times: exact, however far from now."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from perdure_core.timestamps import from_epoch_ms, to_epoch_ms, to_epoch_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Microsecond 123,999 of a second: a float of seconds would not hold its milliseconds.
FINE = datetime(2026, 7, 1, 12, 0, 0, 123_999, tzinfo=UTC)


@pytest.mark.parametrize("at_ms", [0, 1, -1, 1_790_000_000_007, 253_402_300_799_999])
def test_milliseconds_come_back_as_they_were(at_ms: int) -> None:
    assert to_epoch_ms(from_epoch_ms(at_ms)) == at_ms


def test_what_is_finer_than_a_millisecond_is_dropped() -> None:
    assert from_epoch_ms(to_epoch_ms(FINE)) == FINE.replace(microsecond=123_000)


def test_before_1970_what_is_finer_is_dropped_towards_the_past() -> None:
    assert to_epoch_ms(EPOCH - timedelta(microseconds=1)) == -1


def test_nanoseconds_keep_the_microsecond() -> None:
    assert to_epoch_ns(FINE) == to_epoch_ms(FINE) * 1_000_000 + 999_000


def test_a_time_zone_says_only_how_a_time_is_written() -> None:
    there = FINE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_epoch_ms(there) == to_epoch_ms(FINE)
    assert from_epoch_ms(0).tzinfo is UTC
