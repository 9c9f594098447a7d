"""The interceptors of every gRPC call: bearer token, readiness, errors as statuses.

Servicers raise errors of the domain, and know nothing about gRPC statuses.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.status_codes import status_of
from perdure_host.credentials import Tokens

# For a node that is not serving: a caller may find another, or this one again.
RETRY_AFTER_S: Final = 1
HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"
_OWN_PREFIX: Final = "/perdure_proto.v1."
_NODE_PREFIX: Final = "/perdure_proto.v1.NodeService/"

# gRPC's types name neither the messages nor which of a handler's four functions is set.
_Details = grpc.HandlerCallDetails
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_OptionalHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Continuation: TypeAlias = "Callable[[_Details], Awaitable[_OptionalHandler]]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Method: TypeAlias = "Callable[[Any, _Context], Awaitable[Any]]"


class BearerInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call without a valid token, except health checks."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: _Details
    ) -> _OptionalHandler:
        if not handler_call_details.method.startswith(HEALTH_PREFIX):
            problem = self._tokens.problem(_authorization(handler_call_details))
            if problem is not None:
                return _refusal(problem)
        return await continuation(handler_call_details)


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls while the node does not serve, and turns errors of methods into statuses."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        # Bounded by the contract: methods that do not exist have no handler.
        self._handlers: dict[str, _Handler] = {}

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: _Details
    ) -> _OptionalHandler:
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None:
            return handler
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(_OWN_PREFIX):
            return handler
        # Operators and other nodes may read the status of this node at any time.
        readiness = None if method.startswith(_NODE_PREFIX) else self._readiness
        self._handlers[method] = _wrapped(handler, readiness)
        return self._handlers[method]


def _authorization(details: _Details) -> str | bytes | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return value
    return None


def _refusal(problem: str) -> _Handler:
    async def refuse(_requests: Any, context: _Context) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, problem)

    # A method with a stream of requests need not read any, so this fits every method.
    return grpc.stream_stream_rpc_method_handler(refuse)


def _wrapped(handler: Any, readiness: Readiness | None) -> _Handler:
    serializers = (handler.request_deserializer, handler.response_serializer)
    if handler.unary_unary is not None:
        method = _guarded(handler.unary_unary, readiness)
        return grpc.unary_unary_rpc_method_handler(method, *serializers)
    if handler.unary_stream is not None:
        method = _guarded(handler.unary_stream, readiness)
        return grpc.unary_stream_rpc_method_handler(method, *serializers)
    assert handler.stream_stream is not None
    return grpc.stream_stream_rpc_method_handler(
        _guarded(handler.stream_stream, readiness), *serializers
    )


def _guarded(method: _Method, readiness: Readiness | None) -> Any:
    async def guarded(request: Any, context: _Context) -> Any:
        try:
            if readiness is not None:
                readiness.require_serving()
            return await method(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a status
            status = status_of(error)
        return await context.abort(status.code, status.message, _trailers(status.code))

    return guarded


def _trailers(code: grpc.StatusCode) -> tuple[tuple[str, str], ...]:
    """Return when the caller may try again, in seconds, as HTTP's header of that name does."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return (("retry-after", str(RETRY_AFTER_S)),)
    return ()
