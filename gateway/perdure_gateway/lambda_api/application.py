"""Where the operations of the Lambda API live, and the boundary around each of them.

ARNs and callback ids stand in paths percent-encoded, slashes included. By the time a route is
looked for this is undone, so those parts take whatever stands before the last word of the path.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from perdure_gateway.gate import Gate
from perdure_gateway.lambda_api import actions, callbacks, checkpoints, executions, functions
from perdure_gateway.lambda_api.bodies import Body, Room
from perdure_gateway.lambda_api.call import Call
from perdure_gateway.lambda_api.errors import error_response, response_of
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_gateway.refusals import NotServing
from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.services import History
from perdure_host.telemetry import open_log

PREFIXES: Final = ("/2015-03-31/", "/2025-12-01/")

_METHODS: Final = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_EXECUTION: Final = "/2025-12-01/durable-executions/{arn:path}"
_EXECUTIONS_OF_FUNCTION: Final = "/2025-12-01/functions/{function}/durable-executions"
_FUNCTION: Final = "/2015-03-31/functions/{function}"
# Older clients end it with a slash.
_FUNCTIONS: Final = ("/2015-03-31/functions", "/2015-03-31/functions/")
_CALLBACK: Final = "/2025-12-01/durable-execution-callbacks/{callback:path}"
# Every browser of today sends one of them along, and no SDK does.
_BROWSER_HEADERS: Final = ("origin", "sec-fetch-site")

_SIGNED: Final = "AWS4-"

_log = open_log("perdure.gateway")

_Operation: TypeAlias = Callable[[Call], Awaitable[Response]]


class LambdaApi:
    """Serves the Lambda API, once history is there."""

    def __init__(self, gate: Gate, invoker: Invoker | None = None) -> None:
        self._gate = gate
        self._invoker = invoker or Invoker()
        self._room = Room()
        self._told_unchecked = False
        self._history: History | None = None

    def open(self, history: History) -> None:
        """Say who answers; calls come in once the gate is open."""
        self._history = history

    def routes(self) -> list[Route]:
        """Return the routes, in the order in which they are to be tried."""
        return [
            self._route("POST", f"{_CALLBACK}/succeed", callbacks.succeed),
            self._route("POST", f"{_CALLBACK}/fail", callbacks.fail),
            self._route("POST", f"{_CALLBACK}/heartbeat", callbacks.heartbeat),
            self._route("POST", f"{_EXECUTION}/stop", actions.stop),
            self._route("POST", f"{_EXECUTION}/pause", actions.pause),
            self._route("POST", f"{_EXECUTION}/resume", actions.resume),
            self._route("POST", f"{_EXECUTION}/checkpoint", checkpoints.checkpoint),
            self._route("GET", f"{_EXECUTION}/state", checkpoints.state),
            self._route("GET", f"{_EXECUTION}/history", executions.history),
            self._route("GET", _EXECUTION, executions.get),
            self._route("DELETE", _EXECUTION, actions.delete),
            self._route("GET", _EXECUTIONS_OF_FUNCTION, executions.list_by_function),
            self._route("POST", f"{_FUNCTION}/invocations", self._invoker.invoke),
            self._route("GET", f"{_FUNCTION}/configuration", functions.configuration),
            self._route("GET", _FUNCTION, functions.get),
            *(self._route("GET", path, functions.list_all) for path in _FUNCTIONS),
            *(Route(f"{prefix}{{rest:path}}", _unknown, methods=_METHODS) for prefix in PREFIXES),
        ]

    def _route(self, method: str, path: str, operation: _Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            body = Body(request, self._room)
            try:
                _check_no_browser(request)
                self._tell_unchecked(request)
                return await operation(Call(request, body, self._serving(), self._gate))
            except ClientDisconnect:
                # Nobody hears this.
                return Response(status_code=400)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing passes untranslated
                return response_of(error)
            finally:
                body.release()

        return Route(path, endpoint, methods=[method])

    def _tell_unchecked(self, request: Request) -> None:
        """Say once that signatures prove nothing: with a token file they come no further."""
        signed = request.headers.get("authorization", "").startswith(_SIGNED)
        if signed and not self._told_unchecked:
            self._told_unchecked = True
            _log.warning("signatures of Lambda clients are not checked: any access key passes")

    def _serving(self) -> History:
        self._gate.check()
        if self._history is None:
            raise NotServing("this node is starting; try again")
        return self._history


def refusal_for(path: str, problem: str) -> Response | None:
    """Return what a client of ours is told who may not come in; None for paths of others."""
    if not path.startswith(PREFIXES):
        return None
    return error_response(
        Code.ACCESS_DENIED,
        f"{problem}. Access keys and their signatures are not served yet: this node knows bearer"
        " tokens only",
    )


def _check_no_browser(request: Request) -> None:
    """A page that somebody visits must not act on a server which trusts its own machine."""
    if any(header in request.headers for header in _BROWSER_HEADERS):
        raise LambdaError(Code.ACCESS_DENIED, "the Lambda API is not for pages in a browser")


async def _unknown(request: Request) -> Response:
    return error_response(
        Code.OPERATION_UNKNOWN, f"{request.method} {request.url.path} is no operation of this node"
    )
