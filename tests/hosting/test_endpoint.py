"""The endpoint for the AWS SDKs of handlers: requests that it refuses, by bare HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator
from urllib.parse import quote

import httpx
import pytest

from perdure_host.channel import ConnectionSettings
from perdure_host.lambda_json.body_budget import BodyBudget
from perdure_host.lambda_json.checkpoints import CHECKPOINT_BODY_BYTES_MAX
from perdure_worker.hosting.api.forwarding import LambdaProxy
from perdure_worker.hosting.api.http_server import Answer, HttpServer, Request
from tests.hosting.opened import ARN, INVALID, checkpoint_path, opened, play


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


def test_another_name_than_that_of_loopback_is_refused() -> None:
    async def scenario() -> None:
        async with opened() as served:
            answer = await served.http.post(checkpoint_path(), headers={"host": "evil.example"})
            assert answer.status_code == 403

    play(scenario())


LENT = [
    ("POST", "/2015-03-31/functions/f/invocations"),
    ("POST", "/2025-12-01/durable-execution-callbacks/AA%2FB/succeed"),
    ("GET", f"/2025-12-01/durable-executions/{quote(ARN, safe='')}"),
    ("GET", f"/2025-12-01/durable-executions/{quote(ARN, safe='')}/history"),
    ("GET", "/2025-12-01/functions/f/durable-executions"),
]
NOT_LENT = [
    ("GET", "/2015-03-31/functions"),
    ("POST", f"/2025-12-01/durable-executions/{quote(ARN, safe='')}/stop"),
    ("POST", f"/2025-12-01/durable-executions/{ARN}/pause"),
    ("POST", f"/2025-12-01/durable-executions/{ARN}/checkpoint/"),
    ("POST", f"//2025-12-01/durable-executions/{ARN}/checkpoint"),
    ("DELETE", f"/2025-12-01/durable-executions/{quote(ARN, safe='')}"),
    ("GET", f"/2025-12-01/durable-executions/{ARN}%2Fstate"),
    ("POST", "/2015-03-31/functions/f/invocations#/x"),
    ("GET", "/metrics"),
]


class Recorder(LambdaProxy):
    """Takes what would be passed on to a node."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", ConnectionSettings())
        self.passed: list[str] = []

    async def forward(self, request: Request) -> Answer:
        self.passed.append(request.target)
        return Answer(200, (), b"{}")


async def asked(url: str, method: str, target: str) -> int:
    """Send a request whose target no client tidies; return the status."""
    host, _, rest = url.removeprefix("http://").partition("/")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    path = f"/{rest}{target}" if rest else target
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\n{{}}"
    writer.write(head.encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def test_without_the_secret_of_a_process_nothing_is_lent() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with opened(forwarding=recorder) as served:
            for method, target in [*LENT, *NOT_LENT, ("POST", checkpoint_path())]:
                assert await asked(served.endpoint.url, method, target) in {400, 403}
            wrong = f"{served.endpoint.url}/.process/{'A' * 43}"
            assert await asked(wrong, *LENT[0]) == 403
            assert recorder.passed == []

    play(scenario())


def test_a_process_may_make_the_calls_of_handlers_and_no_others() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with opened(forwarding=recorder) as served:
            for method, target in NOT_LENT:
                assert await asked(served.access.url, method, target) in {400, 403}
            assert recorder.passed == []
            for method, target in LENT:
                assert await asked(served.access.url, method, target) == 200
            assert len(recorder.passed) == len(LENT)

    play(scenario())


def test_a_process_acts_for_the_invocation_that_it_runs_alone() -> None:
    async def scenario() -> None:
        async with opened(forwarding=Recorder()) as served:
            body = json.dumps({"CheckpointToken": served.bridge.token, "Updates": []}).encode()
            other = served.endpoint.admit_process()
            other.run("another request")
            async with httpx.AsyncClient(trust_env=False) as http:
                stolen = await http.post(f"{other.url}{checkpoint_path()}", content=body)
                assert stolen.status_code == 400
                assert "is not running here" in stolen.text
                other.run(None)
                idle = await asked(other.url, *LENT[0])
                assert idle == 403
                own = await http.post(f"{served.access.url}{checkpoint_path()}", content=body)
                assert own.status_code == 200
            url = other.url
            del other
            assert await asked(url, *LENT[0]) == 403

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


def test_silent_connections_make_room_for_those_that_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure_worker.hosting.api.http_server.CONNECTIONS_MAX", 5)

    async def scenario() -> None:
        async with opened() as served:
            port = int(served.endpoint.url.rpartition(":")[2])
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            answer = await served.http.post(checkpoint_path(), content=b"{")
            assert answer.status_code == 400
            for _reader, writer in held:
                writer.close()

    play(scenario())


def test_a_body_without_the_secret_is_not_read() -> None:
    async def scenario() -> None:
        async with opened() as served:
            port = int(served.endpoint.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
            writer.close()

    play(scenario())
