"""The HTTP port: /metrics for Prometheus, /healthz for supervisors, the Lambda API for its clients.

Must stay true: /healthz and what is below it answer without a token at any time while the loop
runs. /healthz and /healthz/ready answer 200 only while the node serves; /healthz/live always does,
because no restart mends what ails a node that answers. Only the Lambda API reads request bodies,
within bounds of its own.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from typing import Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.http_api.access import (
    HEALTH_PATH,
    LIVE_PATH,
    METRICS_PATH,
    READY_PATH,
    BearerMiddleware,
    HostMiddleware,
    ProcessPathMiddleware,
    RequestLimit,
)
from perdure_gateway.http_api.connections import (
    SilentConnections,
    http_protocol,
    serve_connections,
)
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_gateway.status_codes import RETRY_AFTER_S
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.access.host_names import HostNames
from perdure_host.credentials import TlsFiles
from perdure_host.errors import SettingsError
from perdure_host.listen import Address
from perdure_host.metrics import ServerMetrics

HEADERS_BYTES_MAX: Final = 16_384
BACKLOG: Final = 1_024
# Scrapes are short; a request that takes longer than this when the server stops is cut off.
STOP_S_MAX: Final = 2


def web_application(
    readiness: Readiness,
    metrics: ServerMetrics,
    tokens: Tokens | None,
    lambda_api: LambdaApi | None = None,
    names: HostNames | None = None,
    audit: Audit | None = None,
) -> ASGIApp:
    """Return the application; without tokens any client may read the metrics, and call.

    Without names it answers to those of loopback alone, and to the address that was reached.
    """

    async def health(_request: Request) -> Response:
        reason = readiness.reason
        if reason is None:
            return JSONResponse({"status": readiness.status})
        body = {"status": readiness.status, "reason": reason}
        return JSONResponse(body, status_code=503, headers={"retry-after": str(RETRY_AFTER_S)})

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": readiness.status})

    async def scrape(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route(path, health) for path in (HEALTH_PATH, READY_PATH)]
    routes += [Route(LIVE_PATH, live), Route(METRICS_PATH, scrape)]
    if lambda_api is not None:
        routes += lambda_api.routes()
    application = Starlette(routes=routes)
    application.router.redirect_slashes = False
    audit = audit or Audit()
    checked: ASGIApp = RequestLimit(application)
    if tokens is not None:
        checked = BearerMiddleware(checked, tokens, audit, lambda_api)
    named = HostMiddleware(checked, names or HostNames("localhost"), audit)
    return ProcessPathMiddleware(named)


class WebServer:
    """Serves an application on one address, in the running loop."""

    def __init__(self, application: ASGIApp, address: Address, tls: TlsFiles | None) -> None:
        self._application = application
        self._address = address
        self._tls = tls
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> Address:
        """Start to serve; return the address with its real port. Raises SettingsError."""
        listener = _listen(self._address)
        self._server = _Server(self._config())
        serving = self._server.serve([listener])
        self._serving = asyncio.get_running_loop().create_task(serving)
        port: int = listener.getsockname()[1]
        return Address(self._address.host, port)

    async def stop(self) -> None:
        """Stop: end open requests and close the port; return when all is done."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    def _config(self) -> uvicorn.Config:
        tls = self._tls
        return uvicorn.Config(
            self._application,
            http=http_protocol(SilentConnections()),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            timeout_graceful_shutdown=STOP_S_MAX,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
            ssl_ca_certs=None if tls is None else tls.authorities,
            ssl_cert_reqs=ssl.CERT_NONE
            if tls is None or tls.authorities is None
            else ssl.CERT_REQUIRED,
        )


class _Server(uvicorn.Server):
    """uvicorn's server with bounds for connections; the program handles signals."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await serve_connections(self, sockets or [], BACKLOG)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG
        )
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {address} for HTTP: {error.strerror or error}"
        ) from error
    # Connections inherit it. Without it the body of a response waits 40 ms until the peer has
    # acknowledged the head; asyncio sets it only on sockets made with the protocol's number.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
