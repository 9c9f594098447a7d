"""Overload of the node: measures how far behind it is, and refuses what it has no time for.

What a node is behind is what its event loop is late by, or the age of the oldest change that waits
for its commit, whichever is more. `delay.py` decides.

Must stay true: what is refused has cost no commit; what workers send is never refused; and callers
that wait never take the place of workers, nor of calls that do not wait.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, NoReturn

from perdure_gateway.admission.delay import DelayGate, Kind
from perdure_gateway.errors import ResourceExhausted
from perdure_host.metrics import RefusalReason, RefusedKind, ServerMetrics
from perdure_host.services import Matching, QueuedStarts

# How often the delay is measured.
MEASURE_S: Final = 0.05
# Calls of clients in progress, and those among them that only wait. Workers are not counted.
CALLS_MAX: Final = 20_000
WAITS_MAX: Final = 15_000
# How long who finds no place may wait: places become free all the time.
_NO_PLACE_S: Final = 2


class Overload:
    """Admits calls, or refuses them with ResourceExhausted."""

    def __init__(
        self,
        metrics: ServerMetrics | None = None,
        *,
        calls_max: int = CALLS_MAX,
        waits_max: int = WAITS_MAX,
    ) -> None:
        self.gate = DelayGate()
        self._metrics = metrics or ServerMetrics()
        self._metrics.node_delay_seconds.set_function(lambda: self.gate.delay_s)
        self._calls_max, self._calls = calls_max, 0
        self._waits_max, self._waits = waits_max, 0
        self._queued: Callable[[str, str], QueuedStarts | None] = lambda _namespace, _function: None

    def watch_queues(self, matching: Matching) -> None:
        """Measure the queues of starts, too."""
        self._queued = matching.queued_starts

    async def measure(self, commit_delay_s: Callable[[], float]) -> None:
        """Measure the delay until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + MEASURE_S
            await asyncio.sleep(MEASURE_S)
            now_s = loop.time()
            self.gate.measured(max(now_s - due_s, commit_delay_s()), now_s)

    def check(self, kind: Kind) -> None:
        """Raise ResourceExhausted if the node is too far behind for a call of this kind."""
        now_s = asyncio.get_running_loop().time()
        if self.gate.is_behind(kind, now_s):
            self._refuse(
                kind,
                "behind",
                f"this node is {self.gate.delay_s:.1f} s behind and admits no {kind} at the moment",
                now_s,
            )

    def admit_start(self, namespace: str, function: str, *, waits: bool) -> None:
        """Raise ResourceExhausted if a start would wait for too long; `waits`: as its caller does.

        Call `check` before.
        """
        now_s = asyncio.get_running_loop().time()
        queued = self._queued(namespace, function)
        if queued is not None and self.gate.is_too_long(
            queued.count, queued.wait_s, now_s, waits=waits
        ):
            self._refuse(
                Kind.START,
                "queue",
                f"{queued.count:,} executions of function {function!r} wait for a worker, which"
                f" takes about {queued.wait_s:.0f} s",
                now_s,
            )
        self.gate.admit(now_s)

    @contextmanager
    def calling(self) -> Generator[None]:
        """Run a call of a client. Raises ResourceExhausted while too many are in progress."""
        if self._calls >= self._calls_max:
            self._refuse_place("call", "calls", f"{self._calls_max:,} calls are in progress")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @property
    def has_place_to_wait(self) -> bool:
        """Return whether one more caller may wait."""
        return self._waits < self._waits_max

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Run what only waits. Raises ResourceExhausted while too many wait."""
        if not self.has_place_to_wait:
            self._refuse_place("wait", "waits", f"{self._waits_max:,} callers wait for executions")
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def _refuse(self, kind: Kind, reason: RefusalReason, why: str, now_s: float) -> NoReturn:
        retry_after_s = self.gate.refuse(now_s)
        self._metrics.count_refused(kind.value, reason)
        raise ResourceExhausted(f"{why}; try again in {retry_after_s} s", retry_after_s)

    def _refuse_place(self, kind: RefusedKind, reason: RefusalReason, why: str) -> NoReturn:
        self._metrics.count_refused(kind, reason)
        raise ResourceExhausted(f"{why}; try again in {_NO_PLACE_S} s", _NO_PLACE_S)
