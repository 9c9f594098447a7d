"""Exceptions of the client; the type tells whether the caller, the state or the server is at fault.

All derive from ClientError, so one `except` catches all of them and nothing else. A status that
this release does not know becomes ServerError: never ignored, never retried.

Each has a `code` to branch on. It is that of its class, unless the server gives a reason: a text of
lower-case words, which no release changes.

A step may fail with one of them, so histories hold their names. Each keeps the name that it was
first recorded under, in `__recorded_name__`, wherever the class lies.
"""

from collections.abc import Mapping
from typing import Final

import grpc

from perdure_host.channel import RETRY_AFTER_KEY, reason_of, text_trailers
from perdure_host.server_address import NO_CONNECTION, connection_problem


class ClientError(Exception):
    """Base class: a call failed. `code` tells why, for programs; the message, for people."""

    __recorded_name__ = "perdure.client_errors.ClientError"
    code: str = "failed"

    # When the server wants to be asked again, in seconds, if it said so.
    retry_after_s: float | None = None


class InvalidArgumentError(ClientError):
    """The request is malformed or too large; sending it again does not help."""

    __recorded_name__ = "perdure.client_errors.InvalidArgumentError"
    code = "invalid_argument"


class NotFoundError(ClientError):
    """The function, execution or callback does not exist, or is past its retention."""

    __recorded_name__ = "perdure.client_errors.NotFoundError"
    code = "not_found"


class AlreadyExistsError(ClientError):
    """An execution of this name was started with another payload."""

    __recorded_name__ = "perdure.client_errors.AlreadyExistsError"
    code = "already_exists"


class FailedPreconditionError(ClientError):
    """The state forbids the call: the callback is completed, the execution has (not) ended."""

    __recorded_name__ = "perdure.client_errors.FailedPreconditionError"
    code = "failed_precondition"


class UnauthenticatedError(ClientError):
    """The server requires a bearer token, which was missing or wrong."""

    __recorded_name__ = "perdure.client_errors.UnauthenticatedError"
    code = "unauthenticated"


class PermissionDeniedError(ClientError):
    """The caller is authenticated, but not allowed to do this."""

    __recorded_name__ = "perdure.client_errors.PermissionDeniedError"
    code = "permission_denied"


class ResourceExhaustedError(ClientError):
    """The server has too much to do, or a limit of it was reached; retried for `patience_s`."""

    __recorded_name__ = "perdure.client_errors.ResourceExhaustedError"
    code = "resource_exhausted"

    # False for a start that the client held back, because the server refuses them.
    was_sent = True


class UnavailableError(ClientError):
    """No server answered, or it was unavailable; the call was retried for `patience_s`."""

    __recorded_name__ = "perdure.client_errors.UnavailableError"
    code = "unavailable"


class ServerError(ClientError):
    """The server failed unexpectedly, or speaks another version of the contract."""

    __recorded_name__ = "perdure.client_errors.ServerError"
    code = "server_error"


class WaitTimeoutError(ClientError, TimeoutError):
    """The execution did not end within the caller's timeout. It continues."""

    __recorded_name__ = "perdure.client_errors.WaitTimeoutError"
    code = "wait_timeout"


class ExecutionFailedError(ClientError):
    """The execution ended without a result: it failed, timed out or was stopped."""

    __recorded_name__ = "perdure.client_errors.ExecutionFailedError"
    code = "execution_failed"

    def __init__(
        self,
        *,
        execution_arn: str,
        status: str,
        error_type: str | None = None,
        error_message: str | None = None,
        error_data: str | None = None,
        stack_trace: tuple[str, ...] = (),
    ) -> None:
        why = ": ".join(part for part in (error_type, error_message) if part)
        super().__init__(f"execution {status}: {why}" if why else f"execution {status}")
        self.execution_arn = execution_arn
        self.status = status
        self.error_type = error_type
        self.error_message = error_message
        self.error_data = error_data
        self.stack_trace = stack_trace


_BY_STATUS: Final[Mapping[grpc.StatusCode, type[ClientError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    # No answer within the time of one attempt: the server counts as unavailable.
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    # Clients never cancel the calls they wait for; a server that stops cancels those still running.
    grpc.StatusCode.CANCELLED: UnavailableError,
}

_UNKNOWN_CALL: Final = (
    "the server does not know this call: is it the gRPC port of a Perdure server, and is that as"
    " new as this client?"
)
# gRPC itself refuses a message beyond the channel's limit with the status of a transient shortage.
_TOO_LARGE: Final = "larger than max"


def client_error(status: grpc.StatusCode, message: str, reason: str = "") -> ClientError:
    """Return the exception for a gRPC status, and for the reason that the server gives."""
    error = _error_of(status, message)
    if reason:
        error.code = reason
    return error


def _error_of(status: grpc.StatusCode, message: str) -> ClientError:
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in message:
        return InvalidArgumentError(message)
    if status is grpc.StatusCode.UNAVAILABLE and (problem := connection_problem(message)):
        failure = InvalidArgumentError if problem.permanent else UnavailableError
        error = failure(f"no connection to the server: {problem.description}")
        error.code = NO_CONNECTION
        return error
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ServerError(f"{_UNKNOWN_CALL} ({message or status.name})")
    return _BY_STATUS.get(status, ServerError)(message or status.name)


def read_rpc_error(error: grpc.RpcError) -> ClientError:
    """Return the exception for one of grpc or grpc.aio."""
    failure = client_error(error.code(), error.details() or "", reason_of(error))
    after = text_trailers(error).get(RETRY_AFTER_KEY, "")
    if after.isascii() and after.isdigit():
        failure.retry_after_s = float(after)
    return failure
