"""One attempt of a step while its body runs: its deadline, its heartbeats and its cancellation.

Must stay true: an attempt that took longer than it may has failed, whatever its body returned or
raised by then. Safe from any thread: a body asks while its driver waits. Nothing waits here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from perdure.exceptions import (
    StepCancelledError,
    StepHeartbeatTimeoutError,
    StepTimeoutError,
    UnrecoverableError,
)
from perdure.operations.heartbeats import NO_PROGRESS, HeartbeatPlan, Heartbeats, PriorProgress
from perdure.operations.running_attempts import body_begins, body_ends


@dataclass(frozen=True)
class AttemptClock:
    """The clocks of attempts, in milliseconds, and whether their invocation or branch is over.

    `now_ms`, since 1970, is the clock of the service's timers; `monotonic_ms` is never set back.
    `elapsed_since_ms` returns how long ago something was recorded.
    """

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], int]
    elapsed_since_ms: Callable[[int], int]
    is_cancelled: Callable[[], bool]


class Attempt:
    """One attempt; `progress` is what was recorded of it before a crash interrupted it.

    `title` names it in messages, which are recorded: the same in every run. An attempt that
    `is_limited` can time out.
    """

    def __init__(
        self,
        number: int,
        title: str,
        clock: AttemptClock,
        heartbeats: HeartbeatPlan,
        *,
        timeout_ms: int | None = None,
        at_most_once: bool = False,
        progress: PriorProgress = NO_PROGRESS,
    ) -> None:
        self.number = number
        self.title = title
        self._at_most_once = at_most_once
        self.heartbeats = Heartbeats(heartbeats, progress, clock.monotonic_ms)
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._heartbeat_timeout_ms = heartbeats.timeout_ms
        self.is_limited = timeout_ms is not None or heartbeats.timeout_ms is not None
        self._ended = False
        self._deadline_ms = None if timeout_ms is None else self.heartbeats.began_ms + timeout_ms

    @property
    def left_s(self) -> float:
        """The seconds until its deadline; 0 or less when it has timed out."""
        deadlines_ms = [
            due for due in (self._deadline_ms, self.heartbeats.deadline_ms) if due is not None
        ]
        if not deadlines_ms:
            return math.inf
        return (min(deadlines_ms) - self._clock.monotonic_ms()) / 1_000

    @property
    def cancelled(self) -> bool:
        """Whether its body, and what it has left behind, should stop: nothing waits for it."""
        return self._ended or self.left_s <= 0 or self._clock.is_cancelled()

    @property
    def heartbeat_details(self) -> Any:
        """The details of the last heartbeat that was recorded before the body began."""
        return self.heartbeats.details()

    def raise_if_cancelled(self) -> None:
        """Raise `StepCancelledError` when the body should stop."""
        if self.cancelled:
            raise StepCancelledError(f"{self.title} is cancelled.")

    def heartbeat(self, details: Any) -> None:
        """Record a heartbeat; raise `StepCancelledError` when its invocation ended before."""
        if self._ended and self._clock.is_cancelled():
            raise StepCancelledError(f"{self.title} has ended, and its invocation too.")
        self.heartbeats.record(details)

    def raise_if_timed_out(self) -> None:
        """Raise `StepTimeoutError` or `StepHeartbeatTimeoutError` when the attempt has timed out.

        The one whose deadline came first.
        """
        if not self.is_limited or self.left_s > 0:
            return
        heartbeat_deadline_ms, deadline_ms = self.heartbeats.deadline_ms, self._deadline_ms
        if deadline_ms is None or (
            heartbeat_deadline_ms is not None and heartbeat_deadline_ms < deadline_ms
        ):
            assert self._heartbeat_timeout_ms is not None
            timeout = _seconds(self._heartbeat_timeout_ms)
            raise StepHeartbeatTimeoutError(f"{self.title} sent no heartbeat for {timeout}.")
        assert self._timeout_ms is not None
        raise StepTimeoutError(f"{self.title} took longer than {_seconds(self._timeout_ms)}.")

    def __enter__(self) -> None:
        """Start the body."""
        body_begins(self, self.title, at_most_once=self._at_most_once)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Check the deadline when the body has ended: a timeout replaces its value or error.

        Only a failure of the whole execution, or of the invocation, is not replaced.
        """
        self._ended = True
        body_ends(self)
        failed = isinstance(error, (Exception, StepCancelledError))
        if error is None or (failed and not isinstance(error, UnrecoverableError)):
            self.raise_if_timed_out()


def _seconds(duration_ms: int) -> str:
    seconds, milliseconds = divmod(duration_ms, 1_000)
    return f"{seconds:,}{f'.{milliseconds:03}' if milliseconds else ''} s"
