"""The relay of a forked process: what a server says about a failed call comes through."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import grpc
import pytest

from perdure_host.channel import (
    REASON_KEY,
    RETRY_AFTER_KEY,
    ConnectionSettings,
    text_trailers,
)
from perdure_host.forks.relay import RelayChannel, RelayedError
from tests.ports import HOST

TRAILERS = {REASON_KEY: "name_taken", RETRY_AFTER_KEY: "7"}


def refuse(_request: object, context: grpc.ServicerContext) -> Any:
    """Refuse a call in every way in which a server explains itself."""
    context.set_trailing_metadata((*TRAILERS.items(), ("raw-bin", b"\xff")))
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "come back later")


@pytest.fixture
def address() -> Iterator[str]:
    """Serve a service that refuses every call."""
    server = grpc.server(ThreadPoolExecutor(1))
    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(refuse)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("service", {"Call": method}),)
    )
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield f"{HOST}:{port}"
    server.stop(None).wait()


def test_what_a_server_says_about_a_failure_comes_through(address: str) -> None:
    with closing(RelayChannel(ConnectionSettings(server=address))) as channel:
        call = channel.unary_unary("/service/Call", lambda _: b"", lambda data: data)
        with pytest.raises(RelayedError) as caught:
            call(None, timeout=30)
    error = caught.value
    assert (error.code(), error.details()) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "come back later",
    )
    assert text_trailers(error) == TRAILERS
