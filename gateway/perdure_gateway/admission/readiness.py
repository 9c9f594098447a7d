"""The status of the node, and with it whether calls are admitted.

    STARTING → SERVING → DRAINING
    STARTING → STANDBY → SERVING      another node owned the database
    SERVING → CUT_OFF → SERVING       the database was away; also from STARTING and STANDBY
    any      → FENCED                 another node has taken over

Must stay true: outside SERVING no new work starts, and calls that only wait for an event end as
soon as the node leaves SERVING, so that no waiting caller delays a stop. Only while the node is
CUT_OFF do they go on, until `end_waits`: it may be over in a moment.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum

from perdure_gateway.errors import NotServing, OnStandby


class NodeStatus(StrEnum):
    """The status of the node, as /healthz and NodeService.Describe report it."""

    STARTING = "starting"
    STANDBY = "standby"
    SERVING = "serving"
    CUT_OFF = "cut-off"
    DRAINING = "draining"
    FENCED = "fenced"


_REASONS = {
    NodeStatus.STARTING: "this node is starting; try again",
    NodeStatus.STANDBY: "this node is on standby while another owns the database; call that one",
    NodeStatus.CUT_OFF: "the database of this node is away; try again",
    NodeStatus.DRAINING: "this node is stopping; try again",
    NodeStatus.FENCED: "another node has taken over; try again",
}


class Readiness:
    """Admits calls while the node serves, and ends waiting calls when it stops."""

    def __init__(self) -> None:
        self._status = NodeStatus.STARTING
        self._detail: str | None = None
        # Where clients reach the node that owns the database, while this one stands by. Callers
        # hear of it once it is known; the health of this node, which anybody reads, does not say.
        self.owner_address: str | None = None
        # In order of arrival; the keys are the waits.
        self._waits: dict[asyncio.Timeout, None] = {}

    @property
    def status(self) -> NodeStatus:
        """Return the current status of the node."""
        return self._status

    @property
    def reason(self) -> str | None:
        """Return why the node does not serve, in words; None while it serves."""
        if self._status is NodeStatus.SERVING:
            return None
        reason = _REASONS[self._status]
        return reason if self._detail is None else f"{reason} ({self._detail})"

    def set_status(self, status: NodeStatus, detail: str | None = None) -> None:
        """Change the status of the node, with what is to be said about it.

        Unless it is SERVING or CUT_OFF, this ends every waiting call.
        """
        self._status, self._detail = status, detail
        if status not in (NodeStatus.SERVING, NodeStatus.CUT_OFF):
            self.end_waits()

    def end_waits(self) -> None:
        """End every waiting call, with NotServing."""
        now_s = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now_s)

    def require_serving(self) -> None:
        """Raise NotServing unless the node serves."""
        if self.reason is not None:
            if self._status is not NodeStatus.STANDBY:
                raise NotServing(self.reason)
            raise OnStandby(
                f"{self.reason}, at {self.owner_address}" if self.owner_address else self.reason
            )

    @asynccontextmanager
    async def while_serving(self) -> AsyncGenerator[None]:
        """Run the body, and raise NotServing from it as soon as the node leaves SERVING."""
        self.require_serving()
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits[wait] = None
                yield
        except TimeoutError:
            if not wait.expired():
                raise
            raise NotServing(self.reason or "the database was away; try again") from None
        finally:
            self._waits.pop(wait, None)
