"""Retry-After hints of exceptions: how long a service asks its callers to wait.

An overloaded service sends a date or a delay: HTTP's `Retry-After` (RFC 9110, section 10.2.3). Must
stay true: a hint can only make a delay longer, an invalid one counts as none, and no exception,
however odd, can break a retry here.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, cast

from perdure.primitives.duration import Duration
from perdure_core.limits import WAIT_MS_MAX
from perdure_core.timestamps import from_epoch_ms

# How far the chain of causes is followed.
CAUSES_MAX: Final = 8


def retry_after_ms(error: BaseException, now_ms: Callable[[], int]) -> int:
    """Return how long to wait at least, in milliseconds; 0 without a hint, 366 days at most.

    The hint is an attribute `retry_after` of the exception (seconds, a `timedelta` or a `Duration`)
    or the header `Retry-After` of its `response` (as requests and httpx have it) or of itself (as
    urllib and aiohttp have it): seconds, or a date, which counts from the response's own `Date`, or
    else from `now_ms()`, since 1970. The first exception of the chain of causes with a hint counts.
    """
    for each in _chain(error):
        delay_ms = _milliseconds(_attribute(each, "retry_after"))
        if delay_ms is None:
            delay_ms = _of_headers(each, now_ms)
        if delay_ms is not None:
            return delay_ms
    return 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if current is None:
            return
        yield current
        current = current.__cause__


def _of_headers(error: BaseException, now_ms: Callable[[], int]) -> int | None:
    for holder in (_attribute(error, "response"), error):
        headers = _attribute(holder, "headers")
        value = _header(headers, "retry-after")
        if value is None:
            continue
        try:
            return _milliseconds(float(value))
        except ValueError:
            return _until(value, _header(headers, "date"), now_ms)
    return None


def _until(date: str, sent: str | None, now_ms: Callable[[], int]) -> int | None:
    until = _parsed(date)
    if until is None:
        return None
    since = _parsed(sent)
    now = from_epoch_ms(now_ms()) if since is None else since
    return _milliseconds(until - now)


def _parsed(date: str | None) -> datetime | None:
    if date is None:
        return None
    try:
        named = parsedate_to_datetime(date)
    except ValueError:
        return None
    return named if named.tzinfo is not None else named.replace(tzinfo=UTC)


def _milliseconds(value: object) -> int | None:
    """Return a length of time in milliseconds, rounded up and within bounds; None if invalid."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, Duration):
        value = value.to_milliseconds() / 1_000
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return WAIT_MS_MAX if value * 1_000 >= WAIT_MS_MAX else math.ceil(value * 1_000)


def _header(headers: object, name: str) -> str | None:
    """Return a header of anything like a mapping, whose keys may be of any case."""
    try:
        for key, value in cast("Mapping[object, object]", headers).items():
            if isinstance(key, str) and isinstance(value, str) and key.lower() == name:
                return value.strip()
    except Exception:  # noqa: BLE001 - headers of any type
        return None
    return None


def _attribute(holder: object, name: str) -> object:
    try:
        return cast("object", getattr(holder, name, None))
    except Exception:  # noqa: BLE001 - a property of the user's class
        return None
