"""What a node does while its database is away: at once, after a moment, and when it is back.

    away ──▶ not ready, calls refused ──a second──▶ streams and waits end ──back──▶ serve

Most outages are over in a moment, so what only waits is not ended at once. But callers that wait
for long must learn of it, to look for another node.
"""

import asyncio
from typing import Final

from perdure_gateway.grpc_api.server import GrpcServer

# How long the database may be away before streams and waiting calls end.
GRACE_S: Final = 1.0


class Availability:
    """Passes the availability of history on to the gateway."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._end: asyncio.TimerHandle | None = None

    def changed(self, reason: str | None) -> None:
        """Pass on why history does not serve; None: it does."""
        if reason is None:
            self.close()
            self._server.resume()
            return
        self._server.cut_off(reason)
        if self._end is None:
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(GRACE_S, self._server.end_streams)

    def close(self) -> None:
        """End no streams any more."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
