"""Bearer tokens in calls of all four kinds, next to other metadata, and tokens that change."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest

from perdure_host.channel_bearer import (
    READ_AGAIN_S,
    TokenFile,
    bearer_aio_interceptors,
    bearer_interceptor,
)

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


class Sent(NamedTuple):
    """A call that went well, with its details and its request."""

    details: Any
    request: Any

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK


class AioSent(NamedTuple):
    """The same of grpc.aio."""

    details: Any
    request: Any

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK


def sesame(folder: Path) -> TokenFile:
    return TokenFile(written(folder, "sesame\n"))


def written(folder: Path, text: str) -> str:
    """Put a file with this text into its place, as a whole."""
    (folder / "new").write_text(text)
    (folder / "new").replace(folder / "token")
    return str(folder / "token")


class Details(NamedTuple):
    """A call as gRPC describes it to interceptors."""

    metadata: tuple[tuple[str, str], ...] | None
    method: str = "/service/Method"
    timeout: float | None = 1.5
    credentials: None = None
    wait_for_ready: bool | None = True
    compression: None = None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metadata", [None, (("trace", "1"),)])
def test_synchronous_calls_of_every_kind_carry_the_token(
    kind: str, metadata: tuple[tuple[str, str], ...] | None, tmp_path: Path
) -> None:
    intercept = getattr(bearer_interceptor(sesame(tmp_path)), f"intercept_{kind}")
    details, request = intercept(Sent, Details(metadata), "request")
    assert details.metadata == (*(metadata or ()), ("authorization", "Bearer sesame"))
    assert (details.method, details.timeout, details.wait_for_ready, request) == (
        "/service/Method",
        1.5,
        True,
        "request",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_asynchronous_calls_of_every_kind_carry_the_token(kind: str, tmp_path: Path) -> None:
    [intercept] = [
        getattr(each, f"intercept_{kind}")
        for each in bearer_aio_interceptors(sesame(tmp_path))
        if hasattr(each, f"intercept_{kind}")
    ]
    original = grpc.aio.ClientCallDetails(
        "/service/Method", 1.5, grpc.aio.Metadata(("trace", "1")), None, True
    )

    async def go_on(details: Any, request: Any) -> AioSent:
        return AioSent(details, request)

    details, request = asyncio.run(intercept(go_on, original, "request"))
    assert [*details.metadata] == [("trace", "1"), ("authorization", "Bearer sesame")]
    assert [*(original.metadata or ())] == [("trace", "1")]
    assert (details.method, details.timeout, details.wait_for_ready, request) == (
        "/service/Method",
        1.5,
        True,
        "request",
    )


def test_a_token_that_was_replaced_counts_within_a_second_or_when_the_other_is_refused(
    tmp_path: Path,
) -> None:
    now_s = 0.0
    tokens = TokenFile(written(tmp_path, "one\n"), now_s=lambda: now_s)
    written(tmp_path, "two\n")
    assert tokens.token() == "one"
    assert tokens.renewed("one") == "two"
    assert tokens.renewed("two") is None
    written(tmp_path, "three\n")
    now_s = READ_AGAIN_S
    assert tokens.token() == "three"


@pytest.mark.parametrize("text", [None, "", "two\nlines\n", "\0"])
def test_a_file_that_does_not_work_changes_nothing(tmp_path: Path, text: str | None) -> None:
    tokens = TokenFile(written(tmp_path, "one\n"))
    if text is None:
        (tmp_path / "token").unlink()
    else:
        written(tmp_path, text)
    assert tokens.renewed("one") is None
    assert tokens.token() == "one"
    written(tmp_path, "two\n")
    assert tokens.renewed("one") == "two"


class Server:
    """Takes one token."""

    def __init__(self, right: str) -> None:
        self.right = right
        self.seen: list[str] = []

    def answer(self, details: Any) -> grpc.StatusCode:
        token = dict(details.metadata)["authorization"].removeprefix("Bearer ")
        self.seen.append(token)
        right = token == self.right
        return grpc.StatusCode.OK if right else grpc.StatusCode.UNAUTHENTICATED


def call_blocking(tokens: TokenFile, server: Server) -> None:
    class Call(NamedTuple):
        known: grpc.StatusCode

        def code(self) -> grpc.StatusCode:
            return self.known

    def go_on(details: Any, _request: Any) -> Call:
        return Call(server.answer(details))

    intercept: Any = bearer_interceptor(tokens).intercept_unary_unary
    intercept(go_on, Details(None), "request")


def call_async(tokens: TokenFile, server: Server) -> None:
    class Call(NamedTuple):
        known: grpc.StatusCode

        async def code(self) -> grpc.StatusCode:
            return self.known

    async def go_on(details: Any, _request: Any) -> Call:
        return Call(server.answer(details))

    original = grpc.aio.ClientCallDetails("/service/Method", None, None, None, None)
    intercept: Any = bearer_aio_interceptors(tokens)[0]
    asyncio.run(intercept.intercept_unary_unary(go_on, original, "request"))


@pytest.mark.parametrize("call", [call_blocking, call_async])
def test_a_refused_call_is_made_again_only_with_another_token(call: Any, tmp_path: Path) -> None:
    tokens = TokenFile(written(tmp_path, "one\n"))
    server = Server("two")
    call(tokens, server)
    written(tmp_path, "two\n")
    call(tokens, server)
    call(tokens, server)
    written(tmp_path, "three\n")
    server.right = "four"
    call(tokens, server)
    assert server.seen == ["one", "one", "two", "two", "two", "three"]
