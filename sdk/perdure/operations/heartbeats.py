"""Signs of life of one attempt: how long it may be silent, and which of them are recorded.

Each is heard at once, and recorded now and then: the first, and from then on the newest of each
interval, if there is any. Must stay true: the record of the longest step there is holds a bounded
number of them; one is recorded after another, never two at a time; and an attempt that was silent
for too long stays so, whatever it still says. Safe from any thread.
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
    """How the signs of life of a step are recorded; `timeout_ms` is how long it may be silent.

    `record(payload)` records one, and returns when that is done; None if nothing can be any more.
    """

    payloads: Payloads
    record: Callable[[str | None], "Future[None] | None"]
    timeout_ms: int | None = None


class PriorProgress(msgspec.Struct, frozen=True):
    """What the record says of an attempt: how long ago it began and last gave a sign of life."""

    began_ago_ms: int = 0
    heartbeat: str | None = None
    heartbeat_ago_ms: int | None = None

    @property
    def silent_ms(self) -> int:
        """How long it has been silent at least: what was not recorded may be an interval newer."""
        if self.heartbeat_ago_ms is None:
            return self.began_ago_ms
        newer_ms = interval_ms(self.began_ago_ms - self.heartbeat_ago_ms)
        return max(self.heartbeat_ago_ms - newer_ms, 0)


# An attempt that begins.
NO_PROGRESS: Final = PriorProgress()


def interval_ms(age_ms: int) -> int:
    """Return how far apart records of an attempt of this age are at least."""
    return max(INTERVAL_MS_MIN, age_ms // INTERVALS_PER_AGE)


class Heartbeats:
    """The signs of life of one attempt, which began at `began_ms`."""

    def __init__(
        self, plan: HeartbeatPlan, past: PriorProgress, monotonic_ms: Callable[[], int]
    ) -> None:
        now_ms = monotonic_ms()
        self._plan = plan
        self._text = past.heartbeat
        self._monotonic_ms = monotonic_ms
        self.began_ms = now_ms - past.began_ago_ms
        self._last_heartbeat_ms = now_ms - past.silent_ms
        ago_ms = past.heartbeat_ago_ms
        self._recorded_ms = None if ago_ms is None else now_ms - ago_ms
        self._lock = threading.Lock()
        self._unrecorded: tuple[str | None] | None = None
        self._recording: Future[None] | None = None
        self._timer: threading.Timer | None = None
        self._ended = False

    @property
    def deadline_ms(self) -> int | None:
        """When the attempt has been silent for too long."""
        timeout_ms = self._plan.timeout_ms
        return None if timeout_ms is None else self._last_heartbeat_ms + timeout_ms

    def details(self) -> Any:
        """Return what the last one said that was recorded before this attempt ran here."""
        return None if self._text is None else self._plan.payloads.read(self._text)

    def record(self, details: Any) -> None:
        """Hear one. Raises `ValidationError` and `SerDesError` for what cannot be recorded."""
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
        """Hear nothing more; return what the last one said if that is not recorded."""
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
            self._look_again(max(left_ms, INTERVAL_MS_MIN if busy else 1))
        elif self._unrecorded is not None:
            (text,) = self._unrecorded
            self._unrecorded = None
            self._recorded_ms = now_ms
            self._recording = self._plan.record(text)

    def _look_again(self, after_ms: int) -> None:
        """Look when the interval is over: whoever says something and falls silent is recorded."""
        if self._timer is None:
            self._timer = threading.Timer(after_ms / 1_000, self._look)
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            if not self._ended and self._unrecorded is not None:
                self._record_when_due(self._monotonic_ms())


def _check_size(text: str | None) -> None:
    size = 0 if text is None else len(text.encode())
    if size > HEARTBEAT_DETAILS_BYTES_MAX:
        raise ValidationError(
            f"The details of a heartbeat are {size:,} bytes; at most "
            f"{HEARTBEAT_DETAILS_BYTES_MAX:,} can be recorded. Keep a place in them, not the data."
        )
