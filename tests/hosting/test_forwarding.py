"""Forwarding: calls of handlers that are not checkpoints are passed on to the node."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_worker.hosting.api.forwarding import LambdaProxy
from perdure_worker.hosting.api.http_server import Answer, HttpServer, Request
from tests.hosting.opened import opened, play


@asynccontextmanager
async def node(respond: Callable[[Request], Answer]) -> AsyncGenerator[str]:
    """Serve a stand-in for a node's Lambda API."""

    async def answer(request: Request) -> Answer:
        return respond(request)

    server = HttpServer(answer)
    url = await server.start()
    try:
        yield url
    finally:
        await server.close()


def test_without_a_node_other_calls_are_refused_with_the_way_out() -> None:
    async def scenario() -> None:
        async with opened() as served:
            status, code, message = await served.refusal(served.call("invoke", FunctionName="f"))
            assert (status, code) == (404, "UnknownOperationException")
            assert "--lambda-endpoint URL" in message

    play(scenario())


def test_other_calls_are_passed_on_as_they_came(tmp_path: Any) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    seen: list[Request] = []

    def respond(request: Request) -> Answer:
        seen.append(request)
        headers = (("x-amz-executed-version", "$LATEST"), ("content-type", "application/json"))
        return Answer(200, headers, b'"done"')

    async def scenario(connection: ConnectionSettings) -> None:
        async with node(respond) as url, opened(forwarding=LambdaProxy(url, connection)) as served:
            answer = await served.call("invoke", FunctionName="g:1", Payload=b'{"a": 1}')
            assert answer["Payload"].read() == b'"done"'
            assert answer["ExecutedVersion"] == "$LATEST"

    play(scenario(ConnectionSettings()))
    play(scenario(ConnectionSettings(token_file=str(token_file))))
    signed, borne = seen
    assert (signed.method, signed.body) == ("POST", b'{"a": 1}')
    # A signature is of the whole path; with a token, none counts.
    assert signed.target.startswith("/.process/")
    assert signed.target.endswith("/2015-03-31/functions/g%3A1/invocations")
    assert borne.target == "/2015-03-31/functions/g%3A1/invocations"
    assert (signed.header("authorization") or "").startswith("AWS4-HMAC-SHA256 ")
    assert borne.header("authorization") == "Bearer secret"


def test_an_unreachable_node_is_reported_as_such() -> None:
    async def scenario() -> None:
        forwarding = LambdaProxy("http://127.0.0.1:9", ConnectionSettings())
        async with opened(forwarding=forwarding) as served:
            status, code, _ = await served.refusal(served.call("invoke", FunctionName="f"))
            assert (status, code) == (503, "ServiceException")

    play(scenario())


@pytest.mark.parametrize("url", ["127.0.0.1:7601", "ftp://host", "http://", "http://h/path"])
def test_an_endpoint_has_to_be_a_url_of_a_host(url: str) -> None:
    with pytest.raises(SettingsError, match="is not http"):
        LambdaProxy(url, ConnectionSettings())
