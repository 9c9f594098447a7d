"""Classification of failed calls: retry, lost, rejected, or a failure of the server.

The contract has few error codes (see model.proto); the worker needs to know only whether the
invocation is still its own, and who retries.
"""

from enum import Enum
from typing import Final

import grpc


class CallFailure(Enum):
    """What a failed call means for its invocation."""

    # The worker repeats the same call after a delay.
    RETRY = "retry"
    # The invocation no longer belongs to this worker, or its execution is gone.
    LOST = "lost"
    # The call was invalid and would be again.
    REJECTED = "rejected"
    # The server failed in a way that a retry does not mend: the invocation has to run again.
    SERVER_ERROR = "server error"


_FAILURES: Final = {
    grpc.StatusCode.UNAVAILABLE: CallFailure.RETRY,
    grpc.StatusCode.RESOURCE_EXHAUSTED: CallFailure.RETRY,
    grpc.StatusCode.DEADLINE_EXCEEDED: CallFailure.RETRY,
    grpc.StatusCode.ABORTED: CallFailure.LOST,
    grpc.StatusCode.DATA_LOSS: CallFailure.LOST,
    grpc.StatusCode.NOT_FOUND: CallFailure.LOST,
    grpc.StatusCode.FAILED_PRECONDITION: CallFailure.LOST,
    grpc.StatusCode.INVALID_ARGUMENT: CallFailure.REJECTED,
}

_CODES: Final = {int(code.value[0]): code for code in grpc.StatusCode}

# A retry cannot help: the operator has to change the settings or the version.
_FATAL: Final = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def classify(code: int) -> CallFailure:
    """Return what a gRPC status code means for the call that failed with it."""
    return _FAILURES.get(_CODES.get(code, grpc.StatusCode.UNKNOWN), CallFailure.SERVER_ERROR)


def is_fatal(code: grpc.StatusCode, *, registered: bool) -> bool:
    """Return whether a session that ended like this should not be opened again."""
    refused = code is grpc.StatusCode.INVALID_ARGUMENT and not registered
    return refused or code in _FATAL
