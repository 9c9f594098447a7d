"""The worker's metrics over HTTP, for Prometheus.

Beside the handlers, in a thread of its own: a handler that keeps the loop busy must not hide that
it does. The port asks for what a server's ports ask for: a bearer token when the worker has a token
file, TLS when it has a certificate.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import (
    CollectorRegistry,
    make_wsgi_app,  # pyright: ignore[reportUnknownVariableType] # published without types
)

from perdure_host.credentials import TlsFiles, Tokens, tls_context
from perdure_host.errors import SettingsError
from perdure_host.listen import Address

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# A scraper that is slower than this is cut off, so that it cannot keep the port for itself.
REQUEST_S_MAX: Final = 10


class MetricsPort(msgspec.Struct, frozen=True):
    """Address of the metrics, and the token that a scraper must present."""

    address: Address
    tokens: Tokens | None = None
    tls: TlsFiles | None = None


class MetricsServer:
    """An HTTP server in a thread of its own; `close` frees the port."""

    def __init__(self, port: MetricsPort, registry: CollectorRegistry) -> None:
        """Begin to serve; port 0 takes a free one. Raises SettingsError when the port is taken."""
        application = cast("Application", make_wsgi_app(registry))
        if port.tokens is not None:
            application = _guarded(application, port.tokens)
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


class _Server(WSGIServer):
    """Answers one scrape after the other; a second scraper waits for a few milliseconds."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a scraper that breaks off does not concern the worker."""


class _Handler(WSGIRequestHandler):
    """A request without a log line, and with an end."""

    timeout = REQUEST_S_MAX

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes come every few seconds."""


def _guarded(application: Application, tokens: Tokens) -> Application:
    """Return the application for those who show a token."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        problem = tokens.problem(environ.get("HTTP_AUTHORIZATION"))
        if problem is None:
            return application(environ, start_response)
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("WWW-Authenticate", "Bearer")]
        start_response("401 Unauthorized", headers)
        return [f"{problem}\n".encode()]

    return guarded
