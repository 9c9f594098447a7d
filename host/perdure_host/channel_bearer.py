"""Interceptors that add the bearer token to every call of a channel.

gRPC's own call credentials do not work on insecure channels, and loopback is insecure by design, so
the token is sent as ordinary metadata that an interceptor adds to each call.

There are two sets because grpc and grpc.aio share no interceptor types. In grpc one object may
intercept every kind of call; grpc.aio uses only the first kind of an object, hence one class each.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

METADATA_KEY: Final = "authorization"

# The continuation that gRPC passes to an interceptor; its own types differ for each kind of call.
_Continue = Callable[[Any, Any], Any]
_ContinueAio = Callable[[Any, Any], Awaitable[Any]]


def bearer_interceptor(token: str) -> "BearerInterceptor":
    """Return the interceptor for a `grpc` channel."""
    return BearerInterceptor(token)


def bearer_aio_interceptors(token: str) -> list[grpc.aio.ClientInterceptor]:
    """Return the interceptors for a `grpc.aio` channel, one for each kind of call."""
    return [
        _AioUnaryUnary(token),
        _AioUnaryStream(token),
        _AioStreamUnary(token),
        _AioStreamStream(token),
    ]


class BearerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to synchronous calls of all four kinds."""

    def __init__(self, token: str) -> None:
        self._entry = (METADATA_KEY, f"Bearer {token}")

    def _intercept(
        self, continuation: _Continue, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        metadata = (*(client_call_details.metadata or ()), self._entry)
        return continuation(_CallDetails(client_call_details, metadata), request)

    intercept_unary_unary: Any = _intercept
    intercept_unary_stream: Any = _intercept
    intercept_stream_unary: Any = _intercept
    intercept_stream_stream: Any = _intercept


class _CallDetails(grpc.ClientCallDetails):
    """Call details with other metadata; gRPC's own are read-only and of a private type."""

    def __init__(
        self, details: grpc.ClientCallDetails, metadata: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _AioBearer:
    """Shared part of the four interceptors for `grpc.aio`."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    async def intercept(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata.add(METADATA_KEY, self._header)
        details = grpc.aio.ClientCallDetails(
            client_call_details.method,
            client_call_details.timeout,
            metadata,
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        return await continuation(details, request)


class _AioUnaryUnary(_AioBearer, grpc.aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary: Any = _AioBearer.intercept


class _AioUnaryStream(_AioBearer, grpc.aio.UnaryStreamClientInterceptor):
    intercept_unary_stream: Any = _AioBearer.intercept


class _AioStreamUnary(_AioBearer, grpc.aio.StreamUnaryClientInterceptor):
    intercept_stream_unary: Any = _AioBearer.intercept


class _AioStreamStream(_AioBearer, grpc.aio.StreamStreamClientInterceptor):
    intercept_stream_stream: Any = _AioBearer.intercept
