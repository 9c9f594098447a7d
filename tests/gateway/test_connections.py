"""Connections of the HTTP port: silent ones, slow ones, and too many requests at a time."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.http_api import connections
from perdure_gateway.http_api.access import RequestLimit
from perdure_gateway.http_api.connections import SILENT_MAX, SILENT_OF_PEER_MAX, SilentConnections
from perdure_gateway.http_server import WebServer, web_application
from perdure_host.listen import Address
from perdure_host.metrics import ServerMetrics
from tests.gateway.serving import run

LARGE = b"x" * 64 * 1_024 * 1_024
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Transport:
    """A connection that can be closed."""

    is_open = True

    def abort(self) -> None:
        self.is_open = False


class Silent:
    """Silent connections with small bounds."""

    def __init__(self, of_peer_max: int, all_max: int) -> None:
        self._silent = SilentConnections(of_peer_max, all_max)

    def add(self, peer: str) -> Transport:
        transport = Transport()
        self._silent.add(cast("asyncio.Transport", transport), peer)
        return transport

    def speak(self, transport: Transport) -> None:
        self._silent.remove(cast("asyncio.Transport", transport))


def test_beyond_the_bound_of_a_peer_its_oldest_is_closed_and_those_of_others_stay() -> None:
    silent = Silent(of_peer_max=2, all_max=100)
    other = silent.add("b")
    first, second, third = [silent.add("a") for _ in range(3)]
    assert [each.is_open for each in (other, first, second, third)] == [True, False, True, True]


def test_beyond_the_bound_of_all_the_oldest_is_closed() -> None:
    silent = Silent(of_peer_max=2, all_max=3)
    transports = [silent.add(str(number)) for number in range(4)]
    assert [each.is_open for each in transports] == [False, True, True, True]


def test_a_connection_on_which_something_is_asked_does_not_count() -> None:
    silent = Silent(of_peer_max=2, all_max=100)
    asking = silent.add("a")
    silent.speak(asking)
    for _ in range(10):
        silent.add("a")
    assert asking.is_open


@asynccontextmanager
async def web(application: ASGIApp | None = None) -> AsyncGenerator[Address]:
    readiness = Readiness()
    readiness.set_status(NodeStatus.SERVING)
    served = application or web_application(readiness, ServerMetrics(), None)
    server = WebServer(served, Address("127.0.0.1", 0), None)
    address = server.start()
    try:
        yield address
    finally:
        await server.stop()


async def opened(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address.host, address.port)


def test_a_flood_of_silent_connections_leaves_health_and_a_kept_connection_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SILENT_OF_PEER_MAX", 50)

    async def main() -> None:
        async with AsyncExitStack() as closing:
            address = await closing.enter_async_context(web())
            for number in range(300):
                held = socket.create_connection((address.host, address.port))
                closing.callback(held.close)
                if number % 100 == 99:
                    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
                        assert (await client.get("/healthz")).status_code == 200

    run(main)


def test_the_bounds_leave_room_for_those_that_are_taken_at_once() -> None:
    """What asks at once is read before so many others have come that it would be closed."""
    assert connections.ACCEPTED_AT_ONCE * 4 <= SILENT_OF_PEER_MAX <= SILENT_MAX // 2


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(LARGE)(scope, receive, send)


def test_a_peer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_S_MAX", 0.05)

    async def main() -> None:
        ended = asyncio.Event()

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            await large(scope, receive, send)
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.set()

        async with web(watched) as address:
            with socket.create_connection((address.host, address.port)) as silent:
                silent.sendall(GET)
                await ended.wait()

    run(main)


def test_beyond_so_many_requests_at_a_time_others_are_refused_and_health_is_answered() -> None:
    async def main() -> None:
        waiting, release = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                waiting.set()
                await release.wait()
            await Response(b"")(scope, receive, send)

        async with (
            web(RequestLimit(slow, 1)) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as client,
        ):
            first = asyncio.create_task(client.get("/slow"))
            await waiting.wait()
            assert (await client.get("/metrics")).status_code == 503
            refused = await client.get("/2015-03-31/functions")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert (await client.get("/healthz")).status_code == 200
            release.set()
            assert (await first).status_code == 200
            assert (await client.get("/metrics")).status_code == 200

    run(main)


@pytest.mark.parametrize(
    ("method", "begun", "answered"),
    [(b"GET", False, b"HTTP/1.1 400"), (b"GET", True, b"HTTP/1.1 200"), (b"HEAD", False, b"")],
)
def test_a_body_that_is_none_gives_up_the_response_and_leaves_no_traceback(
    method: bytes, begun: bool, answered: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        waiting, ended = asyncio.Event(), asyncio.Event()

        async def reading(_scope: Scope, receive: Receive, send: Send) -> None:
            start: Message = {"type": "http.response.start", "status": 200, "headers": []}
            if begun:
                await send(start)
            waiting.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            if not begun:
                await send(start)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            ended.set()

        async with web(reading) as address:
            reader, writer = await opened(address)
            head = GET.replace(b"GET", method)
            writer.write(head.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"))
            await waiting.wait()
            writer.write(b"ZZ\r\n")
            answer = await reader.read()
            await ended.wait()
            writer.close()
        assert answer.startswith(answered)

    run(main)
    assert not [
        each for each in caplog.records if each.levelno >= logging.WARNING and each.exc_info
    ]
