"""The routes of the Lambda API, and the error boundary around each operation.

ARNs and callback ids are percent-encoded in paths, slashes included. Before a route is matched this
is undone, so these parameters match everything before the last segment of the path.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.contextvars import bound_contextvars

from perdure_gateway.admission.delay import Kind
from perdure_gateway.admission.memory_budget import MemoryBudget, Reservation
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.errors import NotServing
from perdure_gateway.lambda_api import actions, callbacks, checkpoints, executions, functions
from perdure_gateway.lambda_api.authentication import (
    INVOKE_FUNCTION,
    SIGNED,
    Authenticator,
    Principal,
    peer_of,
    resource_of,
)
from perdure_gateway.lambda_api.body import Body
from perdure_gateway.lambda_api.errors import error_response, response_of
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_host.access.audit import Audit
from perdure_host.lambda_json.body_budget import UNPROVEN_BYTES_MAX, BodyBudget
from perdure_host.lambda_json.bounds import OPERATION_BYTES_MAX, SYNCHRONOUS_BYTES_MAX
from perdure_host.lambda_json.browser_check import check_no_browser
from perdure_host.lambda_json.checkpoints import CHECKPOINT_BODY_BYTES_MAX
from perdure_host.lambda_json.failures import REQUEST_ID, Code
from perdure_host.services import History
from perdure_host.telemetry import new_request_id

# Every path of the Lambda API begins with the date of its version; most versions are not served.
_VERSIONED: Final = re.compile(r"/[0-9]{4}-[0-9]{2}-[0-9]{2}/")

_METHODS: Final = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_EXECUTION: Final = "/2025-12-01/durable-executions/{arn:path}"
_EXECUTIONS_OF_FUNCTION: Final = "/2025-12-01/functions/{function}/durable-executions"
_FUNCTION: Final = "/2015-03-31/functions/{function}"
# Older clients end it with a slash.
_FUNCTIONS: Final = ("/2015-03-31/functions", "/2015-03-31/functions/")
_CALLBACK: Final = "/2025-12-01/durable-execution-callbacks/{callback:path}"

# The bound where no body is read: clients may send one all the same.
_NO_BODY_BYTES_MAX: Final = 65_536


class _Version(StringConvertor):
    """The segment of a route that is the date of a version of the API."""

    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


register_url_convertor("lambda_version", _Version())

_REFUSED: Final = (401, 403)
_OPERATING: Final = frozenset(
    f"lambda:{verb}DurableExecution" for verb in ("Stop", "Pause", "Resume", "Delete")
)

_Handler: TypeAlias = Callable[[LambdaRequest], Awaitable[Response]]


class Operation(NamedTuple):
    """One operation: its method and path, its name in IAM, and its handler."""

    method: str
    path: str
    action: str
    handler: _Handler
    # The bound of the body, whatever it holds.
    bytes_max: int = _NO_BODY_BYTES_MAX

    @property
    def kind(self) -> Kind | None:
        """Return as what it is refused while the node is behind; None if it never is."""
        if self.action == INVOKE_FUNCTION:
            return Kind.START
        return Kind.CALLBACK if self.path.startswith(_CALLBACK) else None


def operations(invoke: _Handler) -> tuple[Operation, ...]:
    """Return every operation, in the order in which their paths must be tried."""
    return (*_of_callbacks(), *_of_executions(), *_of_functions(invoke))


def is_versioned(path: str) -> bool:
    """Return whether a path belongs to the Lambda API, served or not."""
    return _VERSIONED.match(path) is not None


class LambdaApi:
    """Serves the Lambda API, once it has the ports of history."""

    def __init__(
        self,
        readiness: Readiness,
        invoker: Invoker | None = None,
        authenticator: Authenticator | None = None,
        audit: Audit | None = None,
        overload: Overload | None = None,
    ) -> None:
        self._overload = overload or Overload()
        self._readiness = readiness
        self._invoker = invoker or Invoker()
        self._authenticator = authenticator or Authenticator()
        self._audit = audit or Audit()
        self._body_budget = BodyBudget()
        self._unproven_budget = BodyBudget(UNPROVEN_BYTES_MAX)
        self._budget = MemoryBudget()
        self._history: History | None = None

    def open(self, history: History) -> None:
        """Set the history that answers; calls are refused until the node serves."""
        self._history = history

    def routes(self) -> list[Route]:
        """Return the routes, in the order in which they must be tried."""
        return [
            *(self._route(operation) for operation in operations(self._invoker.invoke)),
            Route("/{version:lambda_version}/{rest:path}", _unknown, methods=_METHODS),
        ]

    def checks(self, path: str, authorization: str | None) -> bool:
        """Return whether a request has a signature that is checked here: it needs no token."""
        signed = authorization is not None and authorization.startswith(SIGNED)
        return signed and self._authenticator.checks_signatures and is_versioned(path)

    def _route(self, operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            request_id = new_request_id()
            with bound_contextvars(request_id=request_id):
                return _with_request_id(await self._answer(operation, request), request_id)

        return Route(operation.path, endpoint, methods=[operation.method])

    async def _answer(self, operation: Operation, request: Request) -> Response:
        if "transfer-encoding" in request.headers and "content-length" in request.headers:
            return _refuse_two_lengths()
        body = Body(request, self._body_budget, self._unproven_budget)
        reservation = self._budget.reservation()
        called = _Called(operation.action, peer_of(request.scope), request.url.path)
        response = Response(status_code=400)
        try:
            check_no_browser(request.headers)
            response = await operation.handler(
                await self._admitted(operation, request, body, reservation, called)
            )
        except ClientDisconnect:
            # The client receives no response.
            pass
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a response
            response = response_of(error)
            called.reason = str(error)
        finally:
            body.release()
            reservation.release()
        called.report(self._audit, response.status_code)
        return response

    async def _admitted(
        self,
        operation: Operation,
        request: Request,
        body: Body,
        reservation: Reservation,
        called: "_Called",
    ) -> LambdaRequest:
        """Return the request, once its caller is authenticated and authorized."""
        history = self._serving()

        async def authorize(principal: Principal) -> None:
            called.caller = principal.name
            principal.check_role(operation.action)
            if principal.is_limited:
                resource = await resource_of(request, principal.namespace, history.commands)
                principal.check(operation.action, resource)
            if operation.kind is not None:
                self._overload.check(operation.kind)

        principal = await self._authenticator.authenticate(
            request, body, operation.bytes_max, authorize
        )
        return LambdaRequest(
            request, body, history, self._readiness, principal, reservation, self._overload
        )

    def _serving(self) -> History:
        self._readiness.require_serving()
        if self._history is None:
            raise NotServing("this node is starting; try again")
        return self._history


class _Called:
    """A call, as the audit log shows it."""

    def __init__(self, action: str, peer: str, target: str) -> None:
        self._action = action
        self._peer = peer
        self._target = target
        self.caller: str | None = None
        self.reason = ""

    def report(self, audit: Audit, status: int) -> None:
        """Log the call if it was refused, or if it is an action of an operator."""
        if status in _REFUSED:
            audit.refused(
                self._action, self.caller, peer=self._peer, status=str(status), reason=self.reason
            )
        elif self._action in _OPERATING:
            audit.acted(
                self._action,
                self.caller,
                peer=self._peer,
                target=self._target,
                status=str(status),
            )


def refusal_for(path: str, problem: str) -> Response | None:
    """Return the response for a client without access; None for paths outside the Lambda API."""
    if not is_versioned(path):
        return None
    return _with_request_id(error_response(Code.ACCESS_DENIED, problem), new_request_id())


def too_many_for(path: str, problem: str) -> Response | None:
    """Return the response when there are too many requests; None outside the Lambda API."""
    if not is_versioned(path):
        return None
    return _with_request_id(error_response(Code.TOO_MANY, problem), new_request_id())


def _of_callbacks() -> Iterable[Operation]:
    result_bytes = OPERATION_BYTES_MAX
    for action_path, outcome, handler, bytes_max in (
        ("succeed", "Success", callbacks.succeed, result_bytes),
        ("fail", "Failure", callbacks.fail, callbacks.ERROR_BODY_BYTES_MAX),
        ("heartbeat", "Heartbeat", callbacks.heartbeat, _NO_BODY_BYTES_MAX),
    ):
        action = f"lambda:SendDurableExecutionCallback{outcome}"
        yield Operation("POST", f"{_CALLBACK}/{action_path}", action, handler, bytes_max)


def _of_executions() -> Iterable[Operation]:
    pause_bytes = actions.PAUSE_BODY_BYTES_MAX
    for method, end, action, handler, bytes_max in (
        ("POST", "/stop", "Stop{}", actions.stop, callbacks.ERROR_BODY_BYTES_MAX),
        ("POST", "/pause", "Pause{}", actions.pause, pause_bytes),
        ("POST", "/resume", "Resume{}", actions.resume, pause_bytes),
        ("POST", "/checkpoint", "Checkpoint{}", checkpoints.checkpoint, CHECKPOINT_BODY_BYTES_MAX),
        ("GET", "/state", "Get{}State", checkpoints.state, _NO_BODY_BYTES_MAX),
        ("GET", "/history", "Get{}History", executions.history, _NO_BODY_BYTES_MAX),
        ("GET", "", "Get{}", executions.get, _NO_BODY_BYTES_MAX),
        ("DELETE", "", "Delete{}", actions.delete, _NO_BODY_BYTES_MAX),
    ):
        name = f"lambda:{action.format('DurableExecution')}"
        yield Operation(method, f"{_EXECUTION}{end}", name, handler, bytes_max)


def _of_functions(invoke: _Handler) -> Iterable[Operation]:
    payload_bytes = SYNCHRONOUS_BYTES_MAX
    yield Operation("POST", f"{_FUNCTION}/invocations", INVOKE_FUNCTION, invoke, payload_bytes)
    for path, action, handler in (
        (_EXECUTIONS_OF_FUNCTION, "ListDurableExecutionsByFunction", executions.list_by_function),
        (f"{_FUNCTION}/configuration", "GetFunctionConfiguration", functions.configuration),
        (_FUNCTION, "GetFunction", functions.get),
        *((path, "ListFunctions", functions.list_all) for path in _FUNCTIONS),
    ):
        yield Operation("GET", path, f"lambda:{action}", handler)


async def _unknown(request: Request) -> Response:
    refusal = error_response(
        Code.OPERATION_UNKNOWN,
        f"{request.method} {request.url.path} is not an operation of this node",
    )
    return _with_request_id(refusal, new_request_id())


def _refuse_two_lengths() -> Response:
    """Refuse a body with two lengths: a proxy that reads it differently would see two requests.

    The connection is closed, and what follows on it is not read (RFC 9112, section 6.1).
    """
    refusal = error_response(
        Code.CONTENT_INVALID, "a request has a content-length or a transfer-encoding, not both"
    )
    refusal.headers["connection"] = "close"
    return refusal


def _with_request_id(response: Response, request_id: str) -> Response:
    response.headers[REQUEST_ID] = request_id
    return response
