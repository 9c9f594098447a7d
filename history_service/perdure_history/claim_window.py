"""The time in which workers claim what they run, after this process was away.

    reload, or a pause of this process ──▶ OPEN ──enough time without a claim──▶ CLOSED
                                            └──a claim arrives: begins again, up to a bound──┘

While it is open nothing is offered that a worker may still run, and nothing is given up as lost.
Must stay true: a claim that has arrived and is not decided yet protects its execution for however
long that takes; the window is measured in attended time, so no pause of this process is part of it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from perdure_host.attention import Attention
from perdure_host.ports import ExecutionKey

# However many claims arrive, the window is open for at most so many times its length.
EXTENSIONS_MAX: Final = 10


class ClaimWindow:
    """Says whether workers may still claim, and whose claims are being decided."""

    def __init__(self, attention: Attention, wait_ms: int) -> None:
        """Start closed. Once opened, it is open for at least `wait_ms`."""
        self._attention = attention
        self._wait_ms = wait_ms
        self._is_after_pause = False
        self._until_ms = 0
        self._latest_ms = 0
        self._undecided: Counter[ExecutionKey] = Counter()

    @property
    def is_open(self) -> bool:
        """Return whether workers may still come and claim."""
        return self.closed_ms < 0

    @property
    def closed_ms(self) -> int:
        """Return for how long the window has been closed, in ms; negative while it is open."""
        return self._attention.now_ms() - self._until_ms

    def open(self, *, after_pause: bool = False) -> None:
        """Open the window, or begin it again."""
        self._is_after_pause = after_pause
        now_ms = self._attention.now_ms()
        self._until_ms = now_ms + self._wait_ms
        self._latest_ms = now_ms + self._wait_ms * EXTENSIONS_MAX

    def may_be_claimed(self, key: ExecutionKey) -> bool:
        """Return whether a worker may still turn out to run the execution."""
        return self.is_open or self.is_being_claimed(key)

    def is_being_claimed(self, key: ExecutionKey) -> bool:
        """Return whether a worker claims the execution, which is not decided yet."""
        return key in self._undecided

    def claims_arrived(self, keys: Iterable[ExecutionKey]) -> None:
        """Protect the executions until `claims_decided`; where some come, more may follow."""
        self._undecided.update(keys)
        self._extend()

    def claims_decided(self, keys: Iterable[ExecutionKey]) -> None:
        """End what `claims_arrived` has begun."""
        for key in keys:
            self._undecided[key] -= 1
            if not self._undecided[key]:
                del self._undecided[key]
        self._extend()

    async def wait_closed(self) -> None:
        """Return once the window is closed."""
        while (closed_ms := self.closed_ms) < 0:
            await self._attention.wait_ms(-closed_ms)

    async def wait_after_pause(self) -> None:
        """Return once every worker has had the time to come back after a pause of this process."""
        while self._is_after_pause and self.is_open:
            await self.wait_closed()

    def _extend(self) -> None:
        if self.is_open:
            later_ms = self._attention.now_ms() + self._wait_ms
            self._until_ms = min(max(self._until_ms, later_ms), self._latest_ms)
