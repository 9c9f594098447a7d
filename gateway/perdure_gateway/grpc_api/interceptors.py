"""The interceptors of every gRPC call: token and role, readiness, errors as statuses.

Servicers raise errors of the domain, and know nothing about gRPC statuses.

Must stay true: nothing of a request is read before its caller is known and may call the method; and
whatever bytes a caller sends, no exception reaches gRPC, which would answer UNKNOWN and log it.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from perdure_gateway.admission.malformed import MALFORMED, check_well_formed, lenient
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.errors import ResourceExhausted
from perdure_gateway.grpc_api.open_calls import OpenCalls
from perdure_gateway.grpc_api.roles import is_audited, is_of_clients, kind_of, roles_for
from perdure_gateway.grpc_api.stream_context import StreamContext
from perdure_gateway.status_codes import Status, status_of
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import Caller, Tokens
from perdure_host.channel import REASON_KEY, RETRY_AFTER_KEY
from perdure_host.codec import MalformedMessage

HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"
_OWN_PREFIX: Final = "/perdure_proto.v1."
_NODE_PREFIX: Final = "/perdure_proto.v1.NodeService/"
_OK: Final = Status(grpc.StatusCode.OK, "")
# Not UNAUTHENTICATED: whether the caller has another token by now is seen when it calls again.
_WITHDRAWN: Final = Status(
    grpc.StatusCode.UNAVAILABLE, "the bearer token of this call was withdrawn; call again"
)

# gRPC's types name neither the messages nor which of a handler's four functions is set.
_Details = grpc.HandlerCallDetails
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_OptionalHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Continuation: TypeAlias = "Callable[[_Details], Awaitable[_OptionalHandler]]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Method: TypeAlias = "Callable[[Any, _Context], Awaitable[Any]]"


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a valid token, or without the role; health checks need neither."""

    def __init__(self, tokens: Tokens | None, calls: OpenCalls, audit: Audit) -> None:
        self._tokens = tokens
        self._calls = calls
        self._audit = audit

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: _Details
    ) -> _OptionalHandler:
        """Pass the call on, or return what refuses it without reading its request."""
        method = handler_call_details.method
        caller: Caller | None = None
        if self._tokens is not None and not method.startswith(HEALTH_PREFIX):
            authorization = _authorization(handler_call_details)
            caller = self._tokens.find(authorization)
            if caller is None:
                problem = self._tokens.problem(authorization) or "the bearer token has changed"
                return self._refusal(method, None, Status(grpc.StatusCode.UNAUTHENTICATED, problem))
            roles = roles_for(method)
            if roles is not None and not caller.may_act_as(roles):
                problem = caller.problem(_action(method), roles)
                return self._refusal(
                    method, caller, Status(grpc.StatusCode.PERMISSION_DENIED, problem)
                )
        self._calls.begin(caller)
        return await continuation(handler_call_details)

    def _refusal(self, method: str, caller: Caller | None, status: Status) -> _Handler:
        def note(context: _Context) -> None:
            self._audit.refused(
                _action(method),
                caller,
                peer=context.peer(),
                status=status.code.name,
                reason=status.message,
            )

        return _refusing(status, note)


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls while the node does not serve, or is behind; turns errors into statuses."""

    def __init__(
        self, readiness: Readiness, calls: OpenCalls, audit: Audit, overload: Overload
    ) -> None:
        self._readiness = readiness
        self._calls = calls
        self._audit = audit
        self._overload = overload
        # Bounded by the contract: methods that do not exist have no handler.
        self._handlers: dict[str, _Handler] = {}

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: _Details
    ) -> _OptionalHandler:
        """Return the method with everything around it."""
        method = handler_call_details.method
        kind = kind_of(method)
        if kind is not None and self._readiness.reason is None:
            try:
                self._overload.check(kind)
            except ResourceExhausted as behind:
                # It costs least before its request is read.
                return _refusing(status_of(behind))
        handler = self._handlers.get(method)
        if handler is not None:
            return handler
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        # Operators and other nodes may read the status of this node at any time.
        needs_serving = method.startswith(_OWN_PREFIX) and not method.startswith(_NODE_PREFIX)
        self._handlers[method] = self._wrapped(method, handler, needs_serving=needs_serving)
        return self._handlers[method]

    def _wrapped(self, method: str, handler: Any, *, needs_serving: bool) -> _Handler:
        def guard(function: _Method) -> Any:
            if is_of_clients(method):
                function = self._counted(function)
            return self._guarded(_action(method), function, needs_serving=needs_serving)

        def guard_stream(function: _Method) -> Any:
            return _settled(guard(function))

        serializers = (lenient(handler.request_deserializer), handler.response_serializer)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(guard(handler.unary_unary), *serializers)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                guard_stream(handler.unary_stream), *serializers
            )
        assert handler.stream_stream is not None
        function = handler.stream_stream
        if inspect.isasyncgenfunction(function):  # that of reflection
            function = _written(function)
        return grpc.stream_stream_rpc_method_handler(guard_stream(function), *serializers)

    def _guarded(self, action: str, method: _Method, *, needs_serving: bool) -> Any:
        async def guarded(request: Any, context: _Context) -> Any:
            caller = self._calls.receive()
            status = _OK
            try:
                check_well_formed(request)
                if needs_serving:
                    self._readiness.require_serving()
                return await method(request, context)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError:
                if not self._calls.is_withdrawn():
                    raise
                status = _WITHDRAWN
            except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a status
                status = status_of(error)
                if isinstance(error, MalformedMessage):
                    self._refused(action, caller, context, status)
            finally:
                if request is not MALFORMED and is_audited(action, caller):
                    self._acted(action, caller, context, request, status)
                self._calls.answer()
            if isinstance(context, StreamContext):
                await context.settle()
            return await _abort(context, status)

        return guarded

    def _counted(self, method: _Method) -> _Method:
        """Return a method of clients, of which only so many run at a time."""

        async def counted(request: Any, context: _Context) -> Any:
            with self._overload.calling():
                return await method(request, context)

        return counted

    def _refused(
        self, action: str, caller: Caller | None, context: _Context, status: Status
    ) -> None:
        self._audit.refused(
            action, caller, peer=context.peer(), status=status.code.name, reason=status.message
        )

    def _acted(
        self,
        action: str,
        caller: Caller | None,
        context: _Context,
        request: Any,
        status: Status,
    ) -> None:
        named = ("execution_arn", "callback_id", "function_name", "successor")
        target = next((getattr(request, name) for name in named if hasattr(request, name)), "")
        self._audit.acted(
            action, caller, peer=context.peer(), target=target, status=status.code.name
        )


async def _abort(context: _Context, status: Status) -> NoReturn:
    """End a call with a status; one whose peer has gone meanwhile ends without."""
    try:
        await context.abort(status.code, status.message, _trailers(status))
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


def _authorization(details: _Details) -> str | bytes | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return value
    return None


def _refusing(status: Status, note: Callable[[_Context], None] | None = None) -> _Handler:
    """Return what refuses a call without reading its request; `note` is called first."""

    async def refuse(_requests: Any, context: _Context) -> None:
        if note is not None:
            note(context)
        await _abort(context, status)

    # A method with a stream of requests need not read any, so this fits every method.
    return grpc.stream_stream_rpc_method_handler(refuse)


def _action(method: str) -> str:
    return method.rpartition("/")[2]


def _settled(function: _Method) -> _Method:
    """Return the method of a stream whose end waits for the message that is being written."""

    async def call(request: Any, context: _Context) -> None:
        stream: Any = StreamContext(context)
        await function(request, stream)
        await stream.settle()

    return call


def _written(generate: Any) -> _Method:
    """Return a method that yields its answers as one that writes them."""

    async def write_all(requests: AsyncIterable[Any], context: _Context) -> None:
        async for answer in generate(_well_formed(requests), context):
            await context.write(answer)

    return write_all


async def _well_formed(requests: AsyncIterable[Any]) -> AsyncGenerator[Any]:
    async for request in requests:
        check_well_formed(request)
        yield request


def _trailers(status: Status) -> tuple[tuple[str, str], ...]:
    """Return what the message says in words: the reason, and when the caller may try again.

    That is in seconds, as in HTTP's header of that name.
    """
    trailers: tuple[tuple[str, str], ...] = ()
    if status.reason:
        trailers += ((REASON_KEY, status.reason),)
    if status.retry_after_s is not None:
        trailers += ((RETRY_AFTER_KEY, str(status.retry_after_s)),)
    return trailers
