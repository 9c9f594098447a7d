"""The log of an outage of the database: one line at its begin, and one at its end."""

import structlog

from perdure_host.errors import HostError
from perdure_host.lease_guard import uptime_s


class OutageLog:
    """Logs when an outage begins and ends, however often it is noticed in between."""

    def __init__(self, log: structlog.stdlib.BoundLogger, *, begin: str, end: str) -> None:
        """`begin` and `end` are the events of the two lines."""
        self._log = log
        self._begin = begin
        self._end = end
        self._since_s: float | None = None

    @property
    def is_on(self) -> bool:
        """Return whether an outage has begun and not ended."""
        return self._since_s is not None

    def began(self, error: HostError) -> None:
        """Log the begin, unless it is logged."""
        if self._since_s is None:
            self._since_s = uptime_s()
            self._log.warning(self._begin, error=str(error), kind=type(error).__name__)

    def ended(self, **fields: object) -> bool:
        """Log the end, if there was a begin; return whether there was."""
        if self._since_s is None:
            return False
        away_s = round(uptime_s() - self._since_s, 1)
        self._since_s = None
        self._log.info(self._end, away_s=away_s, **fields)
        return True
