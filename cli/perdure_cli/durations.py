"""Times and durations as people read them."""

from datetime import datetime, timedelta
from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


def format_duration(duration: timedelta) -> str:
    """Return the two most significant units: 12 ms, 3.2 s, 2 min 05 s, 3 h 20 min, 4 d 3 h."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1_000)} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def format_offset(duration: timedelta) -> str:
    """Return the time since the start, to the millisecond while it is short."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < _HOUR_S:
        return f"+{seconds:.3f} s"
    return f"+{format_duration(duration)}"


def format_moment(moment: datetime) -> str:
    """Return a point in time in the local zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
