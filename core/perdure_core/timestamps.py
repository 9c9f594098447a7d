"""Milliseconds since 1970, which is how times are recorded, and datetimes in UTC.

The conversions are exact: nothing passes through a float.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_NS_PER_US: Final = 1_000


def from_epoch_ms(at_ms: int) -> datetime:
    """Return milliseconds since 1970 as a datetime in UTC."""
    return _EPOCH + at_ms * _MILLISECOND


def to_epoch_ms(at: datetime) -> int:
    """Return a datetime with a time zone as milliseconds since 1970; what is finer is dropped."""
    return (at - _EPOCH) // _MILLISECOND


def to_epoch_ns(at: datetime) -> int:
    """Return a datetime with a time zone as nanoseconds since 1970, exact to its microsecond."""
    return (at - _EPOCH) // _MICROSECOND * _NS_PER_US
