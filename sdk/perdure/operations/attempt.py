"""One attempt of a step while its body runs: how long it may take, and whether it shall stop.

Must stay true: an attempt that took longer than it may has failed, whatever its body returned or
raised by then. Safe from any thread: a body asks while its shell waits. Nothing waits here.
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
    """An attempt, of which the record knows the `past` when a crash interrupted it.

    `title` names it in messages, which are recorded: the same in every run. Time can end it if it
    `is_limited`.
    """

    def __init__(
        self,
        number: int,
        title: str,
        watch: AttemptClock,
        heartbeats: HeartbeatPlan,
        *,
        timeout_ms: int | None = None,
        past: PriorProgress = NO_PROGRESS,
    ) -> None:
        self.number = number
        self.title = title
        self.heartbeats = Heartbeats(heartbeats, past, watch.monotonic_ms)
        self._watch = watch
        self._timeout_ms = timeout_ms
        self._heartbeat_timeout_ms = heartbeats.timeout_ms
        self.is_limited = timeout_ms is not None or heartbeats.timeout_ms is not None
        self._deadline_ms = None if timeout_ms is None else self.heartbeats.began_ms + timeout_ms

    @property
    def left_s(self) -> float:
        """How long it may go on from now, in seconds; not above 0 when it is overdue."""
        deadlines_ms = [
            due for due in (self._deadline_ms, self.heartbeats.deadline_ms) if due is not None
        ]
        if not deadlines_ms:
            return math.inf
        return (min(deadlines_ms) - self._watch.monotonic_ms()) / 1_000

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its body any more."""
        return self.left_s <= 0 or self._watch.is_cancelled()

    @property
    def heartbeat_details(self) -> Any:
        """What the last sign of life said before the body began."""
        return self.heartbeats.details()

    def raise_if_cancelled(self) -> None:
        """Raise `StepCancelledError` when nobody waits for the body any more."""
        if self.cancelled:
            raise StepCancelledError(f"{self.title} is cancelled.")

    def heartbeat(self, details: Any) -> None:
        """Give a sign of life."""
        self.heartbeats.record(details)

    def raise_if_timed_out(self) -> None:
        """Raise `StepTimeoutError` when it has taken longer, or was silent for longer, than may be.

        Whichever was first.
        """
        if not self.is_limited or self.left_s > 0:
            return
        silent_ms, deadline_ms = self.heartbeats.deadline_ms, self._deadline_ms
        if deadline_ms is None or (silent_ms is not None and silent_ms < deadline_ms):
            assert self._heartbeat_timeout_ms is not None
            shown = _shown(self._heartbeat_timeout_ms)
            raise StepHeartbeatTimeoutError(f"{self.title} gave no sign of life for {shown}.")
        assert self._timeout_ms is not None
        raise StepTimeoutError(f"{self.title} took longer than {_shown(self._timeout_ms)}.")

    def __enter__(self) -> None:
        """Let its body run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take what its body did; when it is overdue by then, that is how the attempt failed.

        Only a failure of the whole execution, or of the invocation, counts even then.
        """
        failed = isinstance(error, (Exception, StepCancelledError))
        if error is None or (failed and not isinstance(error, UnrecoverableError)):
            self.raise_if_timed_out()


def _shown(duration_ms: int) -> str:
    seconds, milliseconds = divmod(duration_ms, 1_000)
    return f"{seconds:,}{f'.{milliseconds:03}' if milliseconds else ''} s"
