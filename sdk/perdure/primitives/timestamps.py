"""Points in time: the service counts milliseconds since 1970, users are given datetimes in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def moment(at_ms: int) -> datetime:
    """Return milliseconds since 1970 as a point in time."""
    return _EPOCH + at_ms * _MILLISECOND


def milliseconds(at: datetime) -> int:
    """Return a point in time as milliseconds since 1970."""
    return (at - _EPOCH) // _MILLISECOND
