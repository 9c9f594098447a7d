"""Where the node stands, and hence whether it takes calls.

    STARTING → SERVING → DRAINING
    STARTING → STANDBY → SERVING      another node owned the database
    any      → FENCED                 another node has taken over

Must stay true: outside SERVING nothing new begins, and calls that only wait for something to happen
are let go as soon as the node leaves SERVING, so that stopping waits for nobody's patience.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum

from perdure_gateway.errors import NotServing


class NodeStatus(StrEnum):
    """Where the node stands, in the words of /healthz and NodeService.Describe."""

    STARTING = "starting"
    STANDBY = "standby"
    SERVING = "serving"
    DRAINING = "draining"
    FENCED = "fenced"


_REASONS = {
    NodeStatus.STARTING: "this node is starting; try again",
    NodeStatus.STANDBY: "this node stands by while another owns the database; ask that one",
    NodeStatus.DRAINING: "this node is stopping; try again",
    NodeStatus.FENCED: "another node has taken over; try again",
}


class Readiness:
    """Lets calls in while the node serves, and waiting calls out when it stops."""

    def __init__(self) -> None:
        self._status = NodeStatus.STARTING
        # In order of arrival; the keys are the waits.
        self._waits: dict[asyncio.Timeout, None] = {}

    @property
    def status(self) -> NodeStatus:
        """Return where the node stands now."""
        return self._status

    def set_status(self, status: NodeStatus) -> None:
        """Change where the node stands; lets everybody go who waits, unless it is serving."""
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
        """Raise NotServing out of the body as soon as the node leaves SERVING."""
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
