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
from perdure.operations.heartbeats import NO_PAST, HeartbeatPlan, Heartbeats, Past


@dataclass(frozen=True)
class Watch:
    """What attempts look at, in milliseconds, and whether their turn or branch is over.

    `now_ms`, since 1970, is the clock of the service's timers; `ticks_ms` one that nobody sets, and
    `since_ms` tells how long ago something was recorded.
    """

    now_ms: Callable[[], int]
    ticks_ms: Callable[[], int]
    since_ms: Callable[[int], int]
    is_over: Callable[[], bool]


class Attempt:
    """An attempt, of which the record knows the `past` when a crash interrupted it.

    `title` names it in messages, which are recorded: the same in every run. Time can end it if it
    `is_limited`.
    """

    def __init__(
        self,
        number: int,
        title: str,
        watch: Watch,
        heartbeats: HeartbeatPlan,
        *,
        timeout_ms: int | None = None,
        past: Past = NO_PAST,
    ) -> None:
        self.number = number
        self.title = title
        self.heartbeats = Heartbeats(heartbeats, past, watch.ticks_ms)
        self._watch = watch
        self._timeout_ms = timeout_ms
        self._heartbeat_timeout_ms = heartbeats.timeout_ms
        self.is_limited = timeout_ms is not None or heartbeats.timeout_ms is not None
        self._due_ms = None if timeout_ms is None else self.heartbeats.began_ms + timeout_ms

    @property
    def left_s(self) -> float:
        """How long it may go on from now, in seconds; not above 0 when it is overdue."""
        dues_ms = [due for due in (self._due_ms, self.heartbeats.due_ms) if due is not None]
        if not dues_ms:
            return math.inf
        return (min(dues_ms) - self._watch.ticks_ms()) / 1_000

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its body any more."""
        return self.left_s <= 0 or self._watch.is_over()

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
        self.heartbeats.beat(details)

    def raise_if_overdue(self) -> None:
        """Raise `StepTimeoutError` when it has taken longer, or was silent for longer, than may be.

        Whichever was first.
        """
        if not self.is_limited or self.left_s > 0:
            return
        silent_ms, due_ms = self.heartbeats.due_ms, self._due_ms
        if due_ms is None or (silent_ms is not None and silent_ms < due_ms):
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
            self.raise_if_overdue()


def _shown(duration_ms: int) -> str:
    seconds, milliseconds = divmod(duration_ms, 1_000)
    return f"{seconds:,}{f'.{milliseconds:03}' if milliseconds else ''} s"
