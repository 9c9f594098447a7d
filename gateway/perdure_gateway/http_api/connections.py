"""Connections of the HTTP port: how many may be silent, and how long each may take.

Must stay true: a connection on which nothing is asked (no head yet, or none since the last
response) never keeps another from being served. There are so many of a peer, and so many in all;
beyond that the one that has been silent longest is closed. Every wait for a peer has a deadline.
"""

import asyncio
from collections import OrderedDict
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from perdure_host.open_files import open_files_max

# How long a head may take, and how long a connection may be silent between two requests.
HEAD_S_MAX: Final = 30.0
# How long a peer may read nothing while a response waits for it.
WRITE_S_MAX: Final = 60.0
# How long what is left of a response may take when a connection is closed.
CLOSE_S_MAX: Final = 5.0
TLS_HANDSHAKE_S_MAX: Final = 10.0
SILENT_OF_PEER_MAX: Final = 512
SILENT_MAX: Final = 2_048
# How many connections are taken at once, before those that were taken are read. So few that one
# which asks at once is heard before that many others have come.
ACCEPTED_AT_ONCE: Final = 64


class SilentConnections:
    """The connections of one port on which nothing is asked, oldest first."""

    def __init__(self, of_peer_max: int | None = None, all_max: int | None = None) -> None:
        """Without bounds of their own, they leave most of the files that may be open to others."""
        quarter = open_files_max() // 4
        self._of_peer_max = of_peer_max or min(SILENT_OF_PEER_MAX, quarter)
        self._all_max = all_max or min(SILENT_MAX, quarter)
        self._all: OrderedDict[asyncio.Transport, str] = OrderedDict()
        self._of_peer: dict[str, OrderedDict[asyncio.Transport, None]] = {}

    def add(self, transport: asyncio.Transport, peer: str) -> None:
        """Note a silent connection; close the oldest if there are too many."""
        self.remove(transport)
        self._all[transport] = peer
        of_peer = self._of_peer.setdefault(peer, OrderedDict())
        of_peer[transport] = None
        if len(of_peer) > self._of_peer_max:
            self._close(next(iter(of_peer)))
        elif len(self._all) > self._all_max:
            self._close(next(iter(self._all)))

    def remove(self, transport: asyncio.Transport) -> None:
        """Note that something is asked, or that the connection has ended."""
        peer = self._all.pop(transport, None)
        if peer is None:
            return
        of_peer = self._of_peer[peer]
        del of_peer[transport]
        if not of_peer:
            del self._of_peer[peer]

    def _close(self, transport: asyncio.Transport) -> None:
        self.remove(transport)
        transport.abort()


def http_protocol(silent: SilentConnections) -> type[asyncio.Protocol]:
    """Return the protocol of a port with these silent connections."""

    class Protocol(_Protocol):
        connections_of_port = silent

    return Protocol


class _Protocol(H11Protocol):
    """uvicorn's protocol, with deadlines for heads and for readers."""

    connections_of_port: SilentConnections
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_asked():
            self.connections_of_port.remove(self.transport)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_asked():  # by a request that was pipelined
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP, and give up the response to what came before them."""
        cycle = self.cycle
        takes_body = True
        if self._is_asked():
            cycle.disconnected = True
            cycle.message_event.set()
            takes_body = cycle.scope["method"] != "HEAD"
        if takes_body and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_S_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_write_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._cancel_write_timer()
        self.connections_of_port.remove(self.transport)
        super().connection_lost(exc)

    def _is_asked(self) -> bool:
        # None before the first request, which the types of uvicorn do not know.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.transport.is_closing():
            self._timer = self.loop.call_later(CLOSE_S_MAX, self.transport.abort)
            return
        self.connections_of_port.add(self.transport, (self.client or ("", 0))[0])
        self._timer = self.loop.call_later(HEAD_S_MAX, self._check_head, self.cycle)

    def _check_head(self, last: RequestResponseCycle | None) -> None:
        if not self._is_asked() and self.cycle is last:
            self.transport.close()
            self._timer = self.loop.call_later(CLOSE_S_MAX, self.transport.abort)

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


async def serve_connections(server: uvicorn.Server, sockets: Any, backlog: int) -> None:
    """Listen, as uvicorn does, with deadlines and bounds that it does not have."""
    config = server.config
    loop = asyncio.get_running_loop()

    def new_protocol() -> asyncio.Protocol:
        protocol: Any = config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=config, server_state=server.server_state, app_state={}
        )
        return made

    server.servers = []
    for listener in sockets:
        server.servers.append(
            await loop.create_server(
                new_protocol,
                sock=listener,
                ssl=config.ssl,
                backlog=ACCEPTED_AT_ONCE,
                ssl_handshake_timeout=None if config.ssl is None else TLS_HANDSHAKE_S_MAX,
            )
        )
        # What waits in the kernel may be more than what is taken at once.
        listener.listen(backlog)
    server.started = True
