"""gRPC channels to a server: connection settings, and opening a channel with them.

Everything that connects to a server does so here, so that the token, TLS, message sizes and the
reconnect backoff are the same for the SDK's client, the worker and nodes among themselves.

Must stay true: a channel never gives up on a server. gRPC reconnects by itself, within
RECONNECT_BACKOFF_MS_MAX; whether a call is retried is for its caller to decide.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import msgspec

from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_host.channel_bearer import (
    TokenFile,
    bearer_aio_interceptors,
    bearer_interceptor,
    read_token_file,
)
from perdure_host.errors import SettingsError
from perdure_host.forks.grpc_use import note_grpc_use, used_before_fork
from perdure_host.server_address import (
    ConnectionProblem,
    check_server_address,
    hidden_problem,
)

SERVER_DEFAULT: Final = "127.0.0.1:7600"

# Enough for an execution with the largest input and the largest result (64 MiB each), or for the
# largest checkpoint (72 MiB) in a batch with others, and the fields around them.
MESSAGE_BYTES_MAX: Final = 2 * PAYLOAD_BYTES_MAX + 8 * 1_024 * 1_024

# A peer that died without closing the connection is noticed after the sum of these two.
KEEPALIVE_INTERVAL_MS: Final = 20_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000

# gRPC's default is up to two minutes, but a restarted server must be found at once.
RECONNECT_BACKOFF_MS_MIN: Final = 100
RECONNECT_BACKOFF_MS_MAX: Final = 1_000
CONNECT_MS_MAX: Final = 5_000

CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MIN),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS_MAX),  # gRPC's name for this bound
    ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MAX),
)

# A connection that does not become one of HTTP/2 in time is closed, and one without calls.
HANDSHAKE_MS_MAX: Final = 10_000
IDLE_MS_MAX: Final = 600_000

# Calls of one connection at a time: half of what a server takes. Others wait at the client.
CALLS_OF_CONNECTION_MAX: Final = 20_000
# The connection of a peer that pings more often than this is closed, with ENHANCE_YOUR_CALM.
PING_INTERVAL_MS_MIN: Final = KEEPALIVE_INTERVAL_MS // 2
PINGS_TOO_SOON_MAX: Final = 2

# The server must accept the same sizes, and pings as frequent as ours, which it treats as an
# attack by default. With so_reuseport off, two servers cannot share a port by accident.
SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
    ("grpc.http2.max_ping_strikes", PINGS_TOO_SOON_MAX),
    ("grpc.max_concurrent_streams", CALLS_OF_CONNECTION_MAX),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
    ("grpc.max_connection_idle_ms", IDLE_MS_MAX),
)

# The trailer of a failed call that holds the reason, which clients branch on.
REASON_KEY: Final = "perdure-reason"
RETRY_AFTER_KEY: Final = "retry-after"

FORKED: Final = (
    "this process was forked from one that uses gRPC, which does not work after a fork. Use a"
    " `Client`, or start this process with the method 'spawn' of multiprocessing."
)


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Address of the server, and credentials. Any of the TLS files turns TLS on."""

    # HOST:PORT.
    server: str = SERVER_DEFAULT
    # A file with the bearer token. It is read again when it has changed.
    token_file: str | None = None
    # PEM. The authorities to trust; the system's when absent and TLS is used.
    tls_ca: str | None = None
    # PEM. The client certificate and its key: both or neither.
    tls_cert: str | None = None
    tls_key: str | None = None

    @property
    def with_tls(self) -> bool:
        """Whether connections use TLS."""
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        return any(each is not None for each in files)


def connection_settings(
    environment: Mapping[str, str],
    *,
    server: str | None = None,
    token_file: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> ConnectionSettings:
    """Return the settings: each argument, or the environment variable if it is None."""
    return ConnectionSettings(
        server=server or environment.get("PERDURE_SERVER") or SERVER_DEFAULT,
        token_file=token_file or environment.get("PERDURE_TOKEN_FILE") or None,
        tls_ca=tls_ca or environment.get("PERDURE_TLS_CA") or None,
        tls_cert=tls_cert or environment.get("PERDURE_TLS_CERT") or None,
        tls_key=tls_key or environment.get("PERDURE_TLS_KEY") or None,
    )


def check_connection(settings: ConnectionSettings) -> None:
    """Raise SettingsError for settings that no channel can be opened with."""
    check_server_address(settings.server)
    if settings.token_file is not None:
        read_token_file(settings.token_file)
    _credentials(settings)


def open_channel(settings: ConnectionSettings) -> grpc.Channel:
    """Open a channel for synchronous calls; nothing is sent before the first of them.

    Raises SettingsError for a malformed address, for a file that is missing, unreadable or empty,
    and in a process that was forked from one that uses gRPC.
    """
    check_server_address(settings.server)
    tokens = _token_file(settings)
    credentials = _credentials(settings)
    _begin_grpc()
    channel = (
        grpc.insecure_channel(settings.server, CHANNEL_OPTIONS)
        if credentials is None
        else grpc.secure_channel(settings.server, credentials, CHANNEL_OPTIONS)
    )
    return (
        channel if tokens is None else grpc.intercept_channel(channel, bearer_interceptor(tokens))
    )


def open_aio_channel(settings: ConnectionSettings) -> grpc.aio.Channel:
    """Open a channel for the running event loop; nothing is sent before the first call.

    Raises SettingsError for a malformed address, for a file that is missing, unreadable or empty,
    and in a process that was forked from one that uses gRPC.
    """
    check_server_address(settings.server)
    tokens = _token_file(settings)
    credentials = _credentials(settings)
    _begin_grpc()
    interceptors = None if tokens is None else bearer_aio_interceptors(tokens)
    if credentials is None:
        return grpc.aio.insecure_channel(
            settings.server, CHANNEL_OPTIONS, interceptors=interceptors
        )
    return grpc.aio.secure_channel(
        settings.server, credentials, CHANNEL_OPTIONS, interceptors=interceptors
    )


def problem_of_port(settings: ConnectionSettings, details: str) -> ConnectionProblem | None:
    """Return why calls can never reach this port, as `hidden_problem` finds out."""
    return hidden_problem(
        details,
        settings.server,
        with_tls=settings.with_tls,
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )


def text_trailers(error: Any) -> dict[str, str]:
    """Return what the server says about a failed call of gRPC, besides its status."""
    trailers = error.trailing_metadata() or ()
    return {key: value for key, value in trailers if isinstance(value, str)}


def reason_of(error: Any) -> str:
    """Return the reason that the server gives for a failed call of gRPC; empty without one."""
    return text_trailers(error).get(REASON_KEY, "")


def _token_file(settings: ConnectionSettings) -> TokenFile | None:
    return None if settings.token_file is None else TokenFile(settings.token_file)


def _begin_grpc() -> None:
    if used_before_fork():
        raise SettingsError(FORKED)
    note_grpc_use()


def _credentials(settings: ConnectionSettings) -> grpc.ChannelCredentials | None:
    if not settings.with_tls:
        return None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "key" if settings.tls_key is None else "certificate"
        raise SettingsError(
            f"a client certificate and its key must be set together: no {missing} is set"
        )
    credentials = grpc.ssl_channel_credentials(
        _read_optional("TLS authorities", settings.tls_ca),
        _read_optional("TLS key", settings.tls_key),
        _read_optional("TLS certificate", settings.tls_cert),
    )
    _check_files(settings)
    return credentials


def _check_files(settings: ConnectionSettings) -> None:
    """Raise SettingsError for files that are no PEM, of which gRPC tells with its first call."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.tls_ca is not None:
            context.load_verify_locations(settings.tls_ca)
    except ssl.SSLError as error:
        raise SettingsError(
            f"the TLS authorities {settings.tls_ca} must be certificates in PEM: {error.reason}"
        ) from error
    try:
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except ssl.SSLError as error:
        raise SettingsError(
            f"the client certificate {settings.tls_cert} and the key {settings.tls_key} must be a"
            f" pair in PEM: {error.reason}"
        ) from error


def _read_optional(what: str, path: str | None) -> bytes | None:
    return None if path is None else _read(what, path)


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read the {what} {path}: {error.strerror}") from error
