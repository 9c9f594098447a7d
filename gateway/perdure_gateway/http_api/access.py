"""Checks of every HTTP request before its path is looked at: called names, then tokens.

The Lambda API itself holds roles against operations, and checks signatures.

Must stay true: what is refused here has had no part of its body read.
"""

from typing import Final

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from perdure_gateway.lambda_api.application import LambdaApi, refusal_for, too_many_for
from perdure_gateway.lambda_api.authentication import CALLER, peer_of
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.access.host_names import HostNames
from perdure_host.lambda_json.process_paths import split_path

HEALTH_PATH: Final = "/healthz"
LIVE_PATH: Final = f"{HEALTH_PATH}/live"
READY_PATH: Final = f"{HEALTH_PATH}/ready"
HEALTH_PATHS: Final = (HEALTH_PATH, LIVE_PATH, READY_PATH)
METRICS_PATH: Final = "/metrics"
# A client that waits for an execution to end holds one, for minutes.
REQUESTS_MAX: Final = 2_000


class HostMiddleware:
    """Refuses requests that call the port by a name that is not its own, or come from a page."""

    def __init__(self, application: ASGIApp, names: HostNames, audit: Audit) -> None:
        self._application = application
        self._names = names
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 403."""
        if scope["type"] == "http":
            path: str = scope["path"]
            problem = self._names.problem(
                header(scope, b"host"),
                header(scope, b"origin"),
                reached=(scope.get("server") or ("", 0))[0],
                any_address=path in (*HEALTH_PATHS, METRICS_PATH),
            )
            if problem is not None:
                refusal = refusal_for(path, problem) or JSONResponse({"error": problem}, 403)
                audit_refusal(self._audit, scope, refusal, problem)
                await refusal(scope, receive, send)
                return
        await self._application(scope, receive, send)


class ProcessPathMiddleware:
    """Skips the secret with which hosted handlers begin their paths; `raw_path` keeps it."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the path that was meant."""
        split = split_path(scope["path"]) if scope["type"] == "http" else None
        if split is not None:
            scope["path"] = split.path
        await self._application(scope, receive, send)


class RequestLimit:
    """Refuses requests beyond so many at a time; health is answered all the same."""

    def __init__(self, application: ASGIApp, requests_max: int | None = None) -> None:
        self._application = application
        self._free = REQUESTS_MAX if requests_max is None else requests_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 429 in the Lambda API, with 503 elsewhere."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            await self._application(scope, receive, send)
            return
        if self._free == 0:
            problem = "too many requests at a time; try again in a moment"
            refusal = too_many_for(scope["path"], problem) or JSONResponse({"error": problem}, 503)
            await refusal(scope, receive, send)
            return
        self._free -= 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._free += 1


class BearerMiddleware:
    """Refuses every request without a valid token, except for health and signed requests."""

    def __init__(
        self,
        application: ASGIApp,
        tokens: Tokens,
        audit: Audit,
        lambda_api: LambdaApi | None = None,
    ) -> None:
        self._application = application
        self._tokens = tokens
        self._audit = audit
        self._lambda_api = lambda_api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 401, or 403 in the Lambda API."""
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS:
            authorization = header(scope, b"authorization")
            caller = self._tokens.find(authorization)
            signed = self._lambda_api is not None and self._lambda_api.checks(
                scope["path"], authorization
            )
            if caller is None and not signed:
                problem = self._tokens.problem(authorization) or "the bearer token has changed"
                refusal = refusal_for(scope["path"], _unsigned(problem)) or _challenge(problem)
                audit_refusal(self._audit, scope, refusal, problem)
                await refusal(scope, receive, send)
                return
            scope[CALLER] = caller
        await self._application(scope, receive, send)


def audit_refusal(audit: Audit, scope: Scope, refusal: Response, reason: str) -> None:
    """Log that a request was refused before it reached its path."""
    audit.refused(
        f"{scope['method']} {scope['path']}",
        None,
        peer=peer_of(scope),
        status=str(refusal.status_code),
        reason=reason,
    )


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this name, which is in lower case."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _unsigned(problem: str) -> str:
    return f"{problem}. Signatures are checked only by a node that was given an access key file"


def _challenge(problem: str) -> Response:
    headers = {"www-authenticate": "Bearer"}
    return JSONResponse({"error": problem}, status_code=401, headers=headers)
