"""How a node gets the database: it waits while that is away, and while another node owns it.

Must stay true: an outage that hit every node alike deposes none of them. While the database was
away no lease could be renewed, so what has lapsed meanwhile says nothing. A node that has seen the
outage lets a lease pass before it replaces another one, which renews within a second if it lives.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_history.service import HistoryService
from perdure_host.errors import DatabaseAway, NodeTaken, StoreError
from perdure_host.lease_guard import uptime_s
from perdure_host.outage_log import OutageLog
from perdure_host.telemetry import open_log

# How often a standby node checks whether the other node's lease has expired.
STANDBY_S: Final = 1.0
# A check that comes later than this has missed something: the database, or this process, paused.
GAP_S_MAX: Final = 3.0

_log = open_log("perdure.node")


class Patience:
    """Decides whether nodes whose lease has expired must be spared for now."""

    def __init__(self, lease_ms: int, now_s: Callable[[], float] = uptime_s) -> None:
        self._lease_s = lease_ms / 1_000
        self._now_s = now_s
        self._spares_until_s: float | None = None
        self._answered_s: float | None = None

    def must_spare(self) -> bool:
        """Return whether an outage was seen too short a time ago."""
        return self._spares_until_s is not None and self._now_s() < self._spares_until_s

    def answered(self) -> None:
        """Note that the database has answered."""
        now_s = self._now_s()
        if self._answered_s is not None and now_s - self._answered_s > GAP_S_MAX:
            self.missed()
        self._answered_s = now_s

    def missed(self) -> None:
        """Note that the database did not answer; a lease counts from its next answer on."""
        self._spares_until_s = self._now_s() + self._lease_s


class Standby:
    """Waits for the database on behalf of one node."""

    def __init__(self, node_name: str, lease_ms: int, readiness: Readiness) -> None:
        self._node_name = node_name
        self._readiness = readiness
        self._outage = OutageLog(
            _log.bind(node=node_name),
            begin="the database is away; waiting",
            end="the database is back",
        )
        self._patience = Patience(lease_ms)
        self._is_announced = False

    async def wait_open(
        self, open_store: Callable[[], Awaitable[None]], stop: asyncio.Event
    ) -> bool:
        """Open the store, once its database answers; return False if `stop` is set before.

        Raises StoreError for what does not pass by waiting.
        """
        while not stop.is_set():
            try:
                await open_store()
            except DatabaseAway as error:
                self._missed(error, NodeStatus.STARTING)
                await _wait_set(stop, STANDBY_S)
            else:
                self._answered()
                return True
        return False

    async def wait_owned(
        self,
        history: HistoryService,
        stop: asyncio.Event,
        take_time: Callable[[], Awaitable[None]],
    ) -> bool:
        """Wait until this node owns the database; return False if `stop` is set before.

        `take_time` sets the clock of the node before each try.
        """
        while not stop.is_set():
            try:
                await take_time()
                await history.open(spare_expired=self._patience.must_spare())
            except NodeTaken as taken:
                self._answered()
                self._readiness.owner_address = taken.address
                if self._readiness.status is not NodeStatus.STANDBY:
                    self._readiness.set_status(NodeStatus.STANDBY)
                if not self._is_announced:
                    self._is_announced = True
                    _log.info("standing by", node=self._node_name, reason=str(taken))
            except StoreError as error:
                self._missed(error, NodeStatus.CUT_OFF)
            else:
                self._answered()
                return True
            await _wait_set(stop, STANDBY_S)
        return False

    def _missed(self, error: StoreError, status: NodeStatus) -> None:
        self._outage.began(error)
        self._patience.missed()
        self._readiness.set_status(status, str(error))

    def _answered(self) -> None:
        self._patience.answered()
        self._outage.ended()


async def _wait_set(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
