"""What the refusal of a call means for the invocation that made it.

The contract gives few words to failure (see model.proto); the worker needs to know only whose turn
it is and who tries again.
"""

from enum import Enum
from typing import Final

import grpc


class Verdict(Enum):
    """What to do after a refused call."""

    # The worker repeats the same call after a wait.
    AGAIN = "again"
    # The invocation is no longer ours, or its execution is no more.
    PASSED = "passed"
    # The call was wrong and would be wrong again.
    REFUSED = "refused"
    # The server failed in a way that repeating will not mend: the invocation is to be run again.
    BROKEN = "broken"


_VERDICTS: Final = {
    grpc.StatusCode.UNAVAILABLE: Verdict.AGAIN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Verdict.AGAIN,
    grpc.StatusCode.DEADLINE_EXCEEDED: Verdict.AGAIN,
    grpc.StatusCode.ABORTED: Verdict.PASSED,
    grpc.StatusCode.NOT_FOUND: Verdict.PASSED,
    grpc.StatusCode.FAILED_PRECONDITION: Verdict.PASSED,
    grpc.StatusCode.INVALID_ARGUMENT: Verdict.REFUSED,
}

_CODES: Final = {int(code.value[0]): code for code in grpc.StatusCode}

# Trying again cannot help: somebody has to change the settings or the version.
_FATAL: Final = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def verdict_on_call(code: int) -> Verdict:
    """Return what the number of a gRPC status means for a refused call."""
    return _VERDICTS.get(_CODES.get(code, grpc.StatusCode.UNKNOWN), Verdict.BROKEN)


def is_fatal(code: grpc.StatusCode, *, registered: bool) -> bool:
    """Return whether a session that ended like this should not be opened again."""
    refused = code is grpc.StatusCode.INVALID_ARGUMENT and not registered
    return refused or code in _FATAL
