"""How long the body of an attempt ran, for the history.

What a body did is recorded together with its start, if it is quick: the times of the two events do
not tell it.
"""

from collections.abc import Callable
from types import TracebackType

from perdure_core.limits import WAIT_MS_MAX


class Stopwatch:
    """Measures the body of one attempt, by a monotonic clock in milliseconds.

    `body_ms` stays None when the attempt ends without its body.
    """

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._monotonic_ms = monotonic_ms
        self._began_ms = 0
        self.body_ms: int | None = None

    def __enter__(self) -> None:
        """Start the body."""
        self._began_ms = self._monotonic_ms()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Note how long it ran."""
        self.body_ms = min(self._monotonic_ms() - self._began_ms, WAIT_MS_MAX)
