"""The endpoint for the AWS SDKs of handlers: requests that it refuses, by bare HTTP."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest

from perdure_host.lambda_json.body_budget import BodyBudget
from perdure_host.lambda_json.checkpoints import CHECKPOINT_BODY_BYTES_MAX
from perdure_worker.hosting.api.http_server import Answer, HttpServer, Request
from tests.hosting.opened import INVALID, checkpoint_path, opened, play


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "InvalidRequestContentException"),
        (b"\xff", 400, "InvalidRequestContentException"),
        (b"[]", 400, INVALID),
        (b"{}", 400, INVALID),
        (b'{"CheckpointToken": 1}', 400, INVALID),
        (b'{"CheckpointToken": "!"}', 400, INVALID),
    ],
)
def test_malformed_checkpoints_are_refused(body: bytes, status: int, code: str) -> None:
    async def scenario() -> None:
        async with opened() as served:
            answer = await served.http.post(checkpoint_path(), content=body)
            assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, code)

    play(scenario())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_bound(chunked: bool) -> None:
    async def scenario() -> None:
        async with opened() as served:
            whole = b"x" * (CHECKPOINT_BODY_BYTES_MAX + 1)

            async def pieces() -> AsyncGenerator[bytes]:
                for start in range(0, len(whole), 1_000_000):
                    yield whole[start : start + 1_000_000]

            try:
                answer = await served.http.post(
                    checkpoint_path(), content=pieces() if chunked else whole, timeout=30
                )
            except httpx.TransportError:
                # The connection closed while the rest was still being sent.
                return
            assert answer.status_code == 413

    play(scenario())


def test_pages_in_a_browser_are_refused() -> None:
    async def scenario() -> None:
        async with opened() as served:
            answer = await served.http.post(checkpoint_path(), headers={"origin": "http://evil"})
            assert answer.status_code == 403

    play(scenario())


def test_what_is_no_http_is_answered_and_cut_off() -> None:
    async def scenario() -> None:
        async with opened() as served:
            port = int(served.endpoint.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x00\x01 nonsense\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    play(scenario())


def test_all_bodies_together_have_a_bound() -> None:
    async def respond(request: Request) -> Answer:
        return Answer(200, (), request.body)

    async def scenario() -> None:
        server = HttpServer(respond)
        server.body_budget = BodyBudget(10)
        async with httpx.AsyncClient(base_url=await server.start(), trust_env=False) as http:
            refused = await http.post("/", content=b"x" * 11)
            fitting = await http.post("/", content=b"x" * 10)
        await server.close()
        code = refused.headers["x-amzn-errortype"]
        assert (refused.status_code, code) == (429, "TooManyRequestsException")
        assert (fitting.status_code, fitting.content) == (200, b"x" * 10)
        assert server.body_budget.free == 10

    play(scenario())
