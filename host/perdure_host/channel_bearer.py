"""The bearer token of a client, which every call of a channel carries.

gRPC's own call credentials do not work on insecure channels, and loopback is insecure by design, so
the token is sent as ordinary metadata that an interceptor adds to each call.

There are two sets because grpc and grpc.aio share no interceptor types. In grpc one object may
intercept every kind of call; grpc.aio uses only the first kind of an object, hence one class each.

Must stay true: a token that was replaced in its file is used without a new channel, at the latest
when the server refuses the one before it. A file that does not work (half written, or gone for a
moment) changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from perdure_host.access.file_version import file_version
from perdure_host.errors import SettingsError

METADATA_KEY: Final = "authorization"
# How soon a changed file counts, where no call is refused before.
READ_AGAIN_S: Final = 1.0

# The continuation that gRPC passes to an interceptor; its own types differ for each kind of call.
_Continue = Callable[[Any, Any], Any]
_ContinueAio = Callable[[Any, Any], Awaitable[Any]]


class TokenFile:
    """The token in a file, which is read again when the file has changed."""

    def __init__(self, path: str, now_s: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises SettingsError."""
        self._path = path
        self._now_s = now_s
        self._read_s = now_s()
        self._version = file_version(path)
        self._token = read_token_file(path)

    def token(self) -> str:
        """Return the token; look for another one once a second at most."""
        if self._now_s() - self._read_s >= READ_AGAIN_S:
            self._refresh()
        return self._token

    def renewed(self, refused: str) -> str | None:
        """Return the token that has taken the place of one that was refused; None without one."""
        self._refresh()
        return None if self._token == refused else self._token

    def _refresh(self) -> None:
        self._read_s = self._now_s()
        version = file_version(self._path)
        if version == self._version:
            return
        try:
            self._token = read_token_file(self._path)
        except SettingsError:
            return
        self._version = version


def read_token_file(path: str) -> str:
    """Return the token, without the line break that editors add. Raises SettingsError."""
    try:
        text = Path(path).read_bytes().decode("ascii", errors="replace").strip()
    except OSError as error:
        raise SettingsError(f"cannot read the token file {path}: {error.strerror}") from error
    if not text:
        raise SettingsError(f"the token file {path} is empty")
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"the token file {path} must be one line of ASCII")
    return text


def bearer_interceptor(tokens: TokenFile) -> "BearerInterceptor":
    """Return the interceptor for a `grpc` channel."""
    return BearerInterceptor(tokens)


def bearer_aio_interceptors(tokens: TokenFile) -> list[grpc.aio.ClientInterceptor]:
    """Return the interceptors for a `grpc.aio` channel, one for each kind of call."""
    return [
        _AioUnaryUnary(tokens),
        _AioUnaryStream(tokens),
        _AioStreamUnary(tokens),
        _AioStreamStream(tokens),
    ]


class BearerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to synchronous calls of all four kinds."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    def intercept_unary_unary(
        self, continuation: _Continue, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Make the call; make it again if it was refused and there is another token by now."""
        token = self._tokens.token()
        call = continuation(_with_token(client_call_details, token), request)
        if call.code() is grpc.StatusCode.UNAUTHENTICATED:
            other = self._tokens.renewed(token)
            if other is not None:
                return continuation(_with_token(client_call_details, other), request)
        return call

    def _intercept(
        self, continuation: _Continue, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(_with_token(client_call_details, self._tokens.token()), request)

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

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def intercept(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_aio_with(client_call_details, self._tokens.token()), request)

    async def intercept_again(
        self,
        continuation: _ContinueAio,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        token = self._tokens.token()
        call = await continuation(_aio_with(client_call_details, token), request)
        try:
            code = await call.code()
        except asyncio.CancelledError:
            call.cancel()
            raise
        if code is grpc.StatusCode.UNAUTHENTICATED:
            other = self._tokens.renewed(token)
            if other is not None:
                return await continuation(_aio_with(client_call_details, other), request)
        return call


class _AioUnaryUnary(_AioBearer, grpc.aio.UnaryUnaryClientInterceptor):
    intercept_unary_unary: Any = _AioBearer.intercept_again


class _AioUnaryStream(_AioBearer, grpc.aio.UnaryStreamClientInterceptor):
    intercept_unary_stream: Any = _AioBearer.intercept


class _AioStreamUnary(_AioBearer, grpc.aio.StreamUnaryClientInterceptor):
    intercept_stream_unary: Any = _AioBearer.intercept


class _AioStreamStream(_AioBearer, grpc.aio.StreamStreamClientInterceptor):
    intercept_stream_stream: Any = _AioBearer.intercept


def _with_token(details: grpc.ClientCallDetails, token: str) -> grpc.ClientCallDetails:
    entry = (METADATA_KEY, f"Bearer {token}")
    return _CallDetails(details, (*(details.metadata or ()), entry))


def _aio_with(details: grpc.aio.ClientCallDetails, token: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add(METADATA_KEY, f"Bearer {token}")
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
