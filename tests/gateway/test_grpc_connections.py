"""Bounds of connections over gRPC, seen from below it: frames of HTTP/2."""

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from perdure_gateway.grpc_api import server
from perdure_gateway.grpc_api.server import CALLS_MAX, connections_max
from perdure_host.channel import CALLS_OF_CONNECTION_MAX, PINGS_TOO_SOON_MAX
from perdure_host.open_files import open_files_max
from perdure_proto.v1 import node_pb2
from tests.gateway.serving import Served, run, serving

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
CALLS_SETTING = 3
CALM = 11  # ENHANCE_YOUR_CALM


class Frame(NamedTuple):
    kind: int
    content: bytes


class Raw:
    """A connection on which a test writes frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, kind: int, content: bytes = b"") -> None:
        head = len(content).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4)
        self._writer.write(head + content)

    async def frame(self, kind: int) -> Frame:
        """Return the next frame of a kind. Raises IncompleteReadError at the end."""
        while True:
            head = await self._reader.readexactly(9)
            frame = Frame(head[3], await self._reader.readexactly(int.from_bytes(head[:3], "big")))
            if frame.kind == kind:
                return frame


@asynccontextmanager
async def connected(served: Served) -> AsyncGenerator[Raw]:
    host, _, port = served.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    raw = Raw(reader, writer)
    writer.write(PREFACE)
    raw.send(SETTINGS)
    try:
        yield raw
    finally:
        writer.close()


def test_one_connection_takes_no_more_than_half_of_the_calls() -> None:
    async def main() -> None:
        async with serving() as served, connected(served) as raw:
            settings = (await raw.frame(SETTINGS)).content
            pairs = [struct.unpack_from("!HI", settings, at) for at in range(0, len(settings), 6)]
            assert dict(pairs)[CALLS_SETTING] == CALLS_OF_CONNECTION_MAX == CALLS_MAX // 2

    run(main)


def test_a_peer_that_pings_all_the_time_is_cut_off_and_others_are_not() -> None:
    async def main() -> None:
        async with serving() as served, connected(served) as raw:
            await raw.frame(SETTINGS)
            for _ in range(PINGS_TOO_SOON_MAX + 2):
                raw.send(PING, bytes(8))
            _, code = struct.unpack_from("!II", (await raw.frame(GOAWAY)).content)
            assert code == CALM
            assert (await served.nodes.Describe(node_pb2.DescribeRequest())).node_name == "node-1"

    run(main)


def test_beyond_so_many_connections_new_ones_are_closed_and_those_before_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert connections_max() < open_files_max() * 3 // 4
    monkeypatch.setattr(server, "connections_max", lambda: 2)

    async def main() -> None:
        async with serving() as served:
            describe = node_pb2.DescribeRequest()
            await served.nodes.Describe(describe)
            async with connected(served) as second:
                await second.frame(SETTINGS)
                async with connected(served) as third:
                    with pytest.raises((asyncio.IncompleteReadError, OSError)):
                        await third.frame(SETTINGS)
                assert (await served.nodes.Describe(describe)).node_name == "node-1"
                second.send(PING, bytes(8))
                await second.frame(PING)

    run(main)
