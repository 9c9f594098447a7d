"""One attempt of a step while its body runs: how long it may take, and whether it shall stop.

Must stay true: an attempt that took longer than it may has failed, whatever its body returned or
raised by then. Safe from any thread: a body asks while its shell waits. Nothing waits here.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from perdure.exceptions import StepCancelledError, StepTimeoutError, UnrecoverableError


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
    """An attempt. `left_ms` is how long it may go on; None for as long as it likes.

    `title` names it in messages, which are recorded: the same in every run.
    """

    def __init__(
        self, number: int, watch: Watch, title: str, timeout_ms: int | None, left_ms: int | None
    ) -> None:
        self.number = number
        self.title = title
        self._watch = watch
        self._timeout_ms = timeout_ms
        self._due_ms = None if left_ms is None else watch.ticks_ms() + left_ms

    @property
    def is_limited(self) -> bool:
        """Whether time can end it."""
        return self._due_ms is not None

    @property
    def left_s(self) -> float:
        """How long it may go on, in seconds; negative when it is overdue."""
        if self._due_ms is None:
            return float("inf")
        return (self._due_ms - self._watch.ticks_ms()) / 1_000

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its body any more."""
        return self.left_s <= 0 or self._watch.is_over()

    def raise_if_cancelled(self) -> None:
        """Raise `StepCancelledError` when nobody waits for the body any more."""
        if self.cancelled:
            raise StepCancelledError(f"{self.title} is cancelled.")

    def raise_if_overdue(self) -> None:
        """Raise `StepTimeoutError` when it has taken longer than it may."""
        if self.left_s <= 0:
            assert self._timeout_ms is not None
            raise StepTimeoutError(f"{self.title} took longer than {_shown(self._timeout_ms)}.")

    @contextmanager
    def in_time(self) -> Generator[None]:
        """Take what its body does; when it is overdue by then, that is how the attempt failed.

        Only a failure of the whole execution, or of the invocation, counts even then.
        """
        try:
            yield
        except UnrecoverableError:
            raise
        except (Exception, StepCancelledError):
            self.raise_if_overdue()
            raise
        self.raise_if_overdue()


def _shown(duration_ms: int) -> str:
    seconds, milliseconds = divmod(duration_ms, 1_000)
    return f"{seconds:,}{f'.{milliseconds:03}' if milliseconds else ''} s"
