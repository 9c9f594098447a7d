"""The bearer token on every call of a channel.

gRPC's own call credentials refuse to work on insecure channels, and loopback is insecure by design,
so the token travels as ordinary metadata that an interceptor adds to each call.

Two sets exist because grpc and grpc.aio share no types of interceptor. In grpc one object may serve
every kind of call; grpc.aio files an object under the first kind that it has, hence one class each.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

METADATA_KEY: Final = "authorization"

# What gRPC hands to an interceptor to go on with; its own types differ from kind to kind.
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

    def intercept_unary_unary(
        self, continuation: _Continue, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._authorized(client_call_details), request)

    def intercept_unary_stream(
        self, continuation: _Continue, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._authorized(client_call_details), request)

    def intercept_stream_unary(
        self,
        continuation: _Continue,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return continuation(self._authorized(client_call_details), request_iterator)

    def intercept_stream_stream(
        self,
        continuation: _Continue,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return continuation(self._authorized(client_call_details), request_iterator)

    def _authorized(self, details: grpc.ClientCallDetails) -> "_CallDetails":
        return _CallDetails(details, (*(details.metadata or ()), self._entry))


class _CallDetails(grpc.ClientCallDetails):
    """The details of a call with other metadata; gRPC's own are read-only and of a private type."""

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
    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def authorized(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.add(METADATA_KEY, self._header)
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )


class _AioUnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._bearer = _AioBearer(token)

    async def intercept_unary_unary(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(self._bearer.authorized(client_call_details), request)


class _AioUnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._bearer = _AioBearer(token)

    async def intercept_unary_stream(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(self._bearer.authorized(client_call_details), request)


class _AioStreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._bearer = _AioBearer(token)

    async def intercept_stream_unary(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(self._bearer.authorized(client_call_details), request_iterator)


class _AioStreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._bearer = _AioBearer(token)

    async def intercept_stream_stream(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(self._bearer.authorized(client_call_details), request_iterator)
