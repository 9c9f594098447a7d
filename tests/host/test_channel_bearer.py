"""Bearer tokens in calls of all four kinds, next to other metadata."""

import asyncio
from typing import Any, NamedTuple

import grpc.aio
import pytest

from perdure_host.channel_bearer import bearer_aio_interceptors, bearer_interceptor

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


def pair(*call: Any) -> tuple[Any, ...]:
    """Return the arguments of the next call: details and request."""
    return call


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
    kind: str, metadata: tuple[tuple[str, str], ...] | None
) -> None:
    intercept = getattr(bearer_interceptor("sesame"), f"intercept_{kind}")
    details, request = intercept(pair, Details(metadata), "request")
    assert details.metadata == (*(metadata or ()), ("authorization", "Bearer sesame"))
    assert (details.method, details.timeout, details.wait_for_ready, request) == (
        "/service/Method",
        1.5,
        True,
        "request",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_asynchronous_calls_of_every_kind_carry_the_token(kind: str) -> None:
    [intercept] = [
        getattr(each, f"intercept_{kind}")
        for each in bearer_aio_interceptors("sesame")
        if hasattr(each, f"intercept_{kind}")
    ]
    original = grpc.aio.ClientCallDetails(
        "/service/Method", 1.5, grpc.aio.Metadata(("trace", "1")), None, True
    )

    async def go_on(*call: Any) -> tuple[Any, ...]:
        return pair(*call)

    details, request = asyncio.run(intercept(go_on, original, "request"))
    assert [*details.metadata] == [("trace", "1"), ("authorization", "Bearer sesame")]
    assert [*(original.metadata or ())] == [("trace", "1")]
    assert (details.method, details.timeout, details.wait_for_ready, request) == (
        "/service/Method",
        1.5,
        True,
        "request",
    )
