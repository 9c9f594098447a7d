"""The status of the node, and with it whether calls are admitted.

    STARTING → SERVING → DRAINING
    STARTING → STANDBY → SERVING      another node owned the database
    any      → FENCED                 another node has taken over

Must stay true: outside SERVING no new work starts, and calls that only wait for an event end as
soon as the node leaves SERVING, so that no waiting caller delays a stop.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum

from perdure_gateway.errors import NotServing


class NodeStatus(StrEnum):
    """The status of the node, as /healthz and NodeService.Describe report it."""

    STARTING = "starting"
    STANDBY = "standby"
    SERVING = "serving"
    DRAINING = "draining"
    FENCED = "fenced"


_REASONS = {
    NodeStatus.STARTING: "this node is starting; try again",
    NodeStatus.STANDBY: "this node is on standby while another owns the database; call that one",
    NodeStatus.DRAINING: "this node is stopping; try again",
    NodeStatus.FENCED: "another node has taken over; try again",
}


class Readiness:
    """Admits calls while the node serves, and ends waiting calls when it stops."""

    def __init__(self) -> None:
        self._status = NodeStatus.STARTING
        # In order of arrival; the keys are the waits.
        self._waits: dict[asyncio.Timeout, None] = {}

    @property
    def status(self) -> NodeStatus:
        """Return the current status of the node."""
        return self._status

    def set_status(self, status: NodeStatus) -> None:
        """Change the status of the node; unless it is SERVING, this ends every waiting call."""
        self._status = status
        if status is not NodeStatus.SERVING:
            now_s = asyncio.get_running_loop().time()
            for wait in self._waits:
                wait.reschedule(now_s)

    def require_serving(self) -> None:
        """Raise NotServing unless the node serves."""
        if self._status is not NodeStatus.SERVING:
            raise NotServing(_REASONS[self._status])

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
            raise NotServing(_REASONS[self._status]) from None
        finally:
            self._waits.pop(wait, None)
