"""What a client can be told instead of an answer; the type says whose fault it is.

Everything derives from ClientError, so one `except` catches all of it and nothing else. A status
that this release does not know becomes ServerError: never swallowed, never retried.
"""

from collections.abc import Mapping
from typing import Final

import grpc


class ClientError(Exception):
    """A call was not answered as asked."""


class InvalidArgumentError(ClientError):
    """The request is malformed or too large; sending it again would change nothing."""


class NotFoundError(ClientError):
    """No such function, execution or callback, or it is past its retention."""


class AlreadyExistsError(ClientError):
    """The execution's name is taken by a start with another payload."""


class FailedPreconditionError(ClientError):
    """The state does not allow it: the callback is completed, the execution has (not) ended."""


class UnauthenticatedError(ClientError):
    """The server wants a bearer token, and it was missing or wrong."""


class PermissionDeniedError(ClientError):
    """The server knows who asks, and does not allow it."""


class ResourceExhaustedError(ClientError):
    """A bound of the server was reached; it was tried again until patience ended."""


class UnavailableError(ClientError):
    """No server answered, or it could not answer now; it was tried again until patience ended."""


class ServerError(ClientError):
    """The server failed in a way that it did not foresee, or answers to another contract."""


class WaitTimeoutError(ClientError, TimeoutError):
    """The caller's time was up before the execution ended. The execution goes on."""


class ExecutionFailedError(ClientError):
    """The execution has ended, but not with a result: failed, timed out or stopped."""

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
    # No answer in the time that one try may take: the server is as good as away.
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    # Clients cancel nothing that they wait for; a server that stops cancels what it still runs.
    grpc.StatusCode.CANCELLED: UnavailableError,
}

# gRPC itself refuses a message beyond the channel's limit with the status of a passing shortage.
_TOO_LARGE: Final = "larger than max"


def client_error(status: grpc.StatusCode, message: str) -> ClientError:
    """Return the error that says what a gRPC status means here."""
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in message:
        return InvalidArgumentError(message)
    return _BY_STATUS.get(status, ServerError)(message or status.name)


def read_rpc_error(error: grpc.RpcError) -> ClientError:
    """Return what an exception of grpc or grpc.aio means."""
    return client_error(error.code(), error.details() or "")
