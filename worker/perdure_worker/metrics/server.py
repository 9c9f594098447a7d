"""The worker's metrics over HTTP, for Prometheus.

Beside the handlers, in a thread of its own: a handler that keeps the loop busy must not hide that
it does. The port asks for what a server's ports ask for: a bearer token when the worker has a token
file, TLS when it has a certificate.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import (
    CollectorRegistry,
    make_wsgi_app,  # pyright: ignore[reportUnknownVariableType] # published without types
)

from perdure_host.access.bearer_tokens import Tokens
from perdure_host.access.host_names import HostNames
from perdure_host.credentials import TlsFiles, tls_context
from perdure_host.errors import SettingsError
from perdure_host.listen import Address

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# A scraper that is slower than this is cut off, so that it cannot keep the port for itself.
REQUEST_S_MAX: Final = 10
CONNECTIONS_MAX: Final = 64
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")


class MetricsPort(msgspec.Struct, frozen=True):
    """Address of the metrics, its names, and the token that a scraper must present."""

    address: Address
    names: HostNames
    tokens: Tokens | None = None
    tls: TlsFiles | None = None


class MetricsServer:
    """An HTTP server in a thread of its own; `close` frees the port."""

    def __init__(self, port: MetricsPort, registry: CollectorRegistry) -> None:
        """Begin to serve; port 0 takes a free one. Raises SettingsError when the port is taken."""
        application = cast("Application", make_wsgi_app(registry))
        application = _guarded(application, port)
        address = port.address
        try:
            self._server = make_server(
                address.host, address.port, application, _Server, handler_class=_Handler
            )
        except OSError as error:
            raise SettingsError(
                f"cannot serve metrics on {address}: {error.strerror or error}"
            ) from error
        if port.tls is not None:
            self._server.socket = tls_context(port.tls).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = Address(address.host, self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="perdure-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    """Answers scrapes in threads; of too many connections the oldest is closed."""

    daemon_threads = True
    block_on_close = False
    # With the five of socketserver, a scraper among many callers connects seconds later.
    request_queue_size = 2 * CONNECTIONS_MAX

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread. What was accepted last is the last to be closed."""
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS_MAX else None
            if oldest is not None:
                del self._open[oldest]
            self._open[request] = None
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, answered or not."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a scraper that breaks off does not concern the worker."""


class _Handler(WSGIRequestHandler):
    """A request without a log line, and with an end."""

    timeout = REQUEST_S_MAX

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes come every few seconds."""


def _guarded(application: Application, port: MetricsPort) -> Application:
    """Return the application for those who call the port by its name, and show a token."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        problem = port.names.problem(
            environ.get("HTTP_HOST"),
            environ.get("HTTP_ORIGIN"),
            reached=port.address.host,
            any_address=True,
        )
        if problem is not None:
            start_response("403 Forbidden", [_TEXT])
            return [f"{problem}\n".encode()]
        if port.tokens is not None:
            problem = port.tokens.problem(environ.get("HTTP_AUTHORIZATION"))
        if problem is None:
            return application(environ, start_response)
        start_response("401 Unauthorized", [_TEXT, ("WWW-Authenticate", "Bearer")])
        return [f"{problem}\n".encode()]

    return guarded
