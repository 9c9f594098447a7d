"""What the exit status of `perdure` means; scripts rely on these numbers, so they never change."""

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
    """The numbers."""

    OK = 0
    EXECUTION_FAILED = 1
    INVALID = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAUTHENTICATED = 5
    UNAVAILABLE = 6
    TIMED_OUT = 7
    SERVER_ERROR = 8
    INTERRUPTED = 130


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.EXECUTION_FAILED: "the execution failed, timed out or was stopped",
    ExitCode.INVALID: "wrong usage, or an argument that the server refuses",
    ExitCode.NOT_FOUND: "no such function, execution or callback",
    ExitCode.CONFLICT: "the name is taken by another payload, or the state does not allow it",
    ExitCode.UNAUTHENTICATED: "the server wants a token, and it was missing or wrong",
    ExitCode.UNAVAILABLE: "no server answers, or it cannot answer now",
    ExitCode.TIMED_OUT: "the time to wait is over; the execution goes on",
    ExitCode.SERVER_ERROR: "the server failed in a way that it did not foresee",
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
    """Return the status that says what kept a call from being answered."""
    return _BY_ERROR.get(type(error), ExitCode.SERVER_ERROR)
