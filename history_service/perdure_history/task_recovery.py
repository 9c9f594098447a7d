"""Recovery of tasks: offers executions from the database that want a worker.

After a reload workers first have time to claim what they run; what no worker claims is offered
then. The same happens when a queue that had to drop offers is empty again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_core.refusals import Unknown
from perdure_history.claim_window import ClaimWindow
from perdure_host.errors import StoreError, is_outage
from perdure_host.ports import Clock, ExecutionKey, ExecutionRow, Store
from perdure_host.telemetry import open_log

_PAGE: Final = 1_000
_RETRY_MS: Final = 500

_log = open_log("perdure.history")


class TaskRecovery:
    """Offers, on request, every execution that wants a worker and is not known to run."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        claims: ClaimWindow,
        reoffer: Callable[[ExecutionRow], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._claims = claims
        self._reoffer = reoffer
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Offer everything once more, from the beginning."""
        self._requested.set()

    async def run(self) -> None:
        """Offer until cancelled."""
        while True:
            await self._requested.wait()
            await self._claims.wait_closed()
            self._requested.clear()
            try:
                await self._offer_all()
            except StoreError as error:
                if not is_outage(error):
                    _log.warning(
                        "cannot offer executions to workers; trying again", error=str(error)
                    )
                self._requested.set()
                await self._clock.wait_until(self._clock.now_ms() + _RETRY_MS)

    async def _offer_all(self) -> None:
        after: ExecutionKey | None = None
        while True:
            rows = await self._store.waiting_for("task", after=after, limit=_PAGE)
            for row in rows:
                if self._claims.is_open:
                    # It has been opened again meanwhile, and with that came another request.
                    return
                try:
                    await self._reoffer(row)
                except Unknown:
                    continue
            if len(rows) < _PAGE:
                return
            after = rows[-1].key
