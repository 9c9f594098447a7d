"""Exit statuses of `perdure`. Scripts rely on these numbers, so they never change."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from perdure.client.errors import (
    AlreadyExistsError,
    ClientError,
    ExecutionFailedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    WaitTimeoutError,
)


class ExitCode(IntEnum):
    """An exit status, under a name."""

    OK = 0
    EXECUTION_FAILED = 1
    INVALID = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAUTHENTICATED = 5
    UNAVAILABLE = 6
    TIMED_OUT = 7
    SERVER_ERROR = 8
    DIVERGED = 9
    INTERRUPTED = 130


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.EXECUTION_FAILED: "the execution failed, timed out or was stopped",
    ExitCode.INVALID: "wrong usage, or the server rejected an argument",
    ExitCode.NOT_FOUND: "no such function, execution or callback",
    ExitCode.CONFLICT: "the name is taken with another payload, or the state does not allow it",
    ExitCode.UNAUTHENTICATED: "the server needs a token, and it was missing or wrong",
    ExitCode.UNAVAILABLE: "no server answers, or it cannot answer now",
    ExitCode.TIMED_OUT: "the time to wait is over; the execution goes on",
    ExitCode.SERVER_ERROR: "the server failed with an unexpected error",
    ExitCode.DIVERGED: "the execution is paused: a replay of its code diverged from its history",
    ExitCode.INTERRUPTED: "interrupted from the keyboard; the execution goes on",
}

_BY_ERROR: Final[Mapping[type[ClientError], ExitCode]] = {
    ExecutionFailedError: ExitCode.EXECUTION_FAILED,
    InvalidArgumentError: ExitCode.INVALID,
    NotFoundError: ExitCode.NOT_FOUND,
    AlreadyExistsError: ExitCode.CONFLICT,
    FailedPreconditionError: ExitCode.CONFLICT,
    UnauthenticatedError: ExitCode.UNAUTHENTICATED,
    PermissionDeniedError: ExitCode.UNAUTHENTICATED,
    UnavailableError: ExitCode.UNAVAILABLE,
    ResourceExhaustedError: ExitCode.UNAVAILABLE,
    WaitTimeoutError: ExitCode.TIMED_OUT,
}


def exit_code(error: ClientError) -> ExitCode:
    """Return the exit status for an error of the client."""
    return _BY_ERROR.get(type(error), ExitCode.SERVER_ERROR)
