"""A proxy of PostgreSQL whose connection breaks just when a COMMIT passes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Literal
from urllib.parse import urlsplit

# What happens at the next COMMIT: it arrives and its answer is lost; it is lost itself; or it
# arrives and silence follows, on a connection that stays open.
Break = Literal["after", "before", "silence"]


class Wire:
    """Carries bytes between clients and a server."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._carriers: set[asyncio.Task[None]] = set()
        self.breaks: Break | None = None
        self.url = ""

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncGenerator["Wire"]:
        """Listen on a free port while the block runs."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = listener.sockets[0].getsockname()[1]
        self.url = self._server._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()
        try:
            yield self
        finally:
            listener.close()
            for carrier in self._carriers:
                carrier.cancel()
            await asyncio.gather(*self._carriers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carriers.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._server.hostname, self._server.port
        from_server, to_server = await asyncio.open_connection(host, port)
        back = asyncio.create_task(_copy(from_server, writer))
        try:
            while chunk := await reader.read(65_536):
                if b"COMMIT\x00" not in chunk or self.breaks is None:
                    to_server.write(chunk)
                elif not self._break(chunk, to_server, back):
                    break
        finally:
            back.cancel()
            await _close(to_server)
            await _close(writer)

    def _break(
        self, chunk: bytes, to_server: asyncio.StreamWriter, back: "asyncio.Task[None]"
    ) -> bool:
        """Break; say whether the connection stays open."""
        kind, self.breaks = self.breaks, None
        back.cancel()
        if kind != "before":
            to_server.write(chunk)
        return kind == "silence"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
