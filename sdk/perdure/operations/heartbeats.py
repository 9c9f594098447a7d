"""Heartbeats of one attempt: when it times out without one, and which of them are recorded.

Each resets the timeout at once; only some are recorded: the first, and from then on the newest of
each interval, if there is any. Must stay true: the record of the longest step holds a bounded
number of heartbeats; they are recorded one after another, never two at a time; and an attempt that
has timed out stays so, whatever heartbeats follow. Safe from any thread.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import msgspec

from perdure.exceptions import ValidationError
from perdure.serdes.serializers import Payloads
from perdure_core.limits import HEARTBEAT_DETAILS_BYTES_MAX

# At most one is recorded in so many milliseconds …
INTERVAL_MS_MIN: Final = 5_000
# … and in so many parts of the attempt's age: about 1,200 in a year.
INTERVALS_PER_AGE: Final = 100


class HeartbeatPlan(msgspec.Struct, frozen=True):
    """How the heartbeats of a step are recorded; `timeout_ms` is the longest time between two.

    `record(payload)` records one, and returns the future of its checkpoint; None if nothing can be
    recorded any more.
    """

    payloads: Payloads
    record: Callable[[str | None], "Future[None] | None"]
    timeout_ms: int | None = None


class PriorProgress(msgspec.Struct, frozen=True):
    """What is recorded of an interrupted attempt: the age of its start and last heartbeat."""

    began_ago_ms: int = 0
    heartbeat: str | None = None
    heartbeat_ago_ms: int | None = None

    @property
    def since_heartbeat_ms(self) -> int:
        """The least time since its last heartbeat; an unrecorded one may be an interval newer."""
        if self.heartbeat_ago_ms is None:
            return self.began_ago_ms
        newer_ms = interval_ms(self.began_ago_ms - self.heartbeat_ago_ms)
        return max(self.heartbeat_ago_ms - newer_ms, 0)


# The progress of an attempt that starts now.
NO_PROGRESS: Final = PriorProgress()


def interval_ms(age_ms: int) -> int:
    """Return the shortest time between recorded heartbeats of an attempt of this age."""
    return max(INTERVAL_MS_MIN, age_ms // INTERVALS_PER_AGE)


class Heartbeats:
    """The heartbeats of one attempt, which began at `began_ms`."""

    def __init__(
        self, plan: HeartbeatPlan, progress: PriorProgress, monotonic_ms: Callable[[], int]
    ) -> None:
        now_ms = monotonic_ms()
        self._plan = plan
        self._text = progress.heartbeat
        self._monotonic_ms = monotonic_ms
        self.began_ms = now_ms - progress.began_ago_ms
        self._last_heartbeat_ms = now_ms - progress.since_heartbeat_ms
        ago_ms = progress.heartbeat_ago_ms
        self._recorded_ms = None if ago_ms is None else now_ms - ago_ms
        self._lock = threading.Lock()
        self._unrecorded: tuple[str | None] | None = None
        self._recording: Future[None] | None = None
        self._timer: threading.Timer | None = None
        self._ended = False

    @property
    def deadline_ms(self) -> int | None:
        """When the attempt times out unless a heartbeat comes; None without a heartbeat timeout."""
        timeout_ms = self._plan.timeout_ms
        return None if timeout_ms is None else self._last_heartbeat_ms + timeout_ms

    def details(self) -> Any:
        """Return the details of the last heartbeat recorded before this run, if any."""
        return None if self._text is None else self._plan.payloads.read(self._text)

    def record(self, details: Any) -> None:
        """Record one. Raises `ValidationError` or `SerDesError` for unusable details."""
        text = None if details is None else self._plan.payloads.write(details)
        _check_size(text)
        with self._lock:
            now_ms = self._monotonic_ms()
            if self._ended or (self.deadline_ms is not None and self.deadline_ms <= now_ms):
                return
            self._last_heartbeat_ms = now_ms
            self._unrecorded = (text,)
            self._record_when_due(now_ms)

    def end(self) -> tuple[str | None] | None:
        """Accept no more; return the details of the last one if they are not recorded yet."""
        with self._lock:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
            return self._unrecorded

    def _record_when_due(self, now_ms: int) -> None:
        left_ms = 0
        if self._recorded_ms is not None:
            left_ms = self._recorded_ms + interval_ms(now_ms - self.began_ms) - now_ms
        busy = self._recording is not None and not self._recording.done()
        if left_ms > 0 or busy:
            self._record_later(max(left_ms, INTERVAL_MS_MIN if busy else 1))
        elif self._unrecorded is not None:
            (text,) = self._unrecorded
            self._unrecorded = None
            self._recorded_ms = now_ms
            self._recording = self._plan.record(text)

    def _record_later(self, after_ms: int) -> None:
        """Record the newest one when the interval is over, also if no other one follows."""
        if self._timer is None:
            self._timer = threading.Timer(after_ms / 1_000, self._record_pending)
            self._timer.daemon = True
            self._timer.start()

    def _record_pending(self) -> None:
        with self._lock:
            self._timer = None
            if not self._ended and self._unrecorded is not None:
                self._record_when_due(self._monotonic_ms())


def _check_size(text: str | None) -> None:
    size = 0 if text is None else len(text.encode())
    if size > HEARTBEAT_DETAILS_BYTES_MAX:
        raise ValidationError(
            f"The details of a heartbeat must be at most {HEARTBEAT_DETAILS_BYTES_MAX:,} bytes,"
            f" got {size:,}. Record a position in the data, not the data."
        )
