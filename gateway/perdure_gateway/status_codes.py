"""gRPC statuses of refusals and errors, for both APIs.

Must stay true: a caller never sees a stack trace or the text of an unexpected error. Such an error
is written to the log under an incident id, and the caller gets the id.
"""

from typing import Final, NamedTuple

import grpc

from perdure_core.refusals import (
    CallbackClosed,
    CallbackExpired,
    Ended,
    Invalid,
    NameTaken,
    NotEnded,
    Quarantined,
    Refused,
    StaleToken,
    Unknown,
    UnknownFunction,
)
from perdure_gateway.errors import (
    HeartbeatTimeout,
    NotServing,
    OnStandby,
    ResourceExhausted,
    SessionReplaced,
)
from perdure_host.codec import MalformedMessage
from perdure_host.errors import ChangeRefused, Fenced, StoreError
from perdure_host.telemetry import open_log, report_incident

# Statuses travel in HTTP/2 trailers, which peers bound at 8 KiB.
MESSAGE_CHARS_MAX: Final = 1_000
# For a node that is not serving: a caller may find another, or this one again.
RETRY_AFTER_S: Final = 1

# Clients branch on these, so they never change. The first that fits counts.
_REASONS: Final[dict[type[Exception], str]] = {
    CallbackExpired: "callback_timed_out",
    CallbackClosed: "callback_completed",
    Ended: "execution_ended",
    NotEnded: "execution_not_ended",
    NameTaken: "name_taken",
    UnknownFunction: "function_not_found",
    Quarantined: "execution_quarantined",
    OnStandby: "node_on_standby",
}

_log = open_log("perdure.gateway")


class Status(NamedTuple):
    """The status of a failed call. `reason` tells causes of one code apart, where that matters."""

    code: grpc.StatusCode
    message: str
    # When the call may be tried again, in seconds, if it may.
    retry_after_s: int | None = None
    reason: str = ""


def status_of(error: Exception) -> Status:
    """Return the status that the caller of the failed call gets."""
    code = _code_of(error)
    if code is grpc.StatusCode.INTERNAL:
        incident = report_incident(_log, error)
        return Status(code, f"internal error; see incident {incident} in the server's log")
    if isinstance(error, Fenced):
        return Status(code, "another node has taken over; try again", RETRY_AFTER_S)
    retry_after_s = RETRY_AFTER_S if code is grpc.StatusCode.UNAVAILABLE else None
    if isinstance(error, ResourceExhausted):
        retry_after_s = error.retry_after_s
    return Status(code, str(error)[:MESSAGE_CHARS_MAX], retry_after_s, _reason_of(error))


def _reason_of(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "")


def _code_of(error: Exception) -> grpc.StatusCode:
    match error:
        case Refused():
            return _code_of_refusal(error)
        case MalformedMessage():
            return grpc.StatusCode.INVALID_ARGUMENT
        case ChangeRefused():
            return grpc.StatusCode.DATA_LOSS
        case StoreError() | NotServing() | HeartbeatTimeout():
            return grpc.StatusCode.UNAVAILABLE
        case SessionReplaced():
            return grpc.StatusCode.FAILED_PRECONDITION
        case ResourceExhausted():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case _:
            return grpc.StatusCode.INTERNAL


def _code_of_refusal(error: Refused) -> grpc.StatusCode:
    match error:
        case Invalid():
            return grpc.StatusCode.INVALID_ARGUMENT
        case Unknown():
            return grpc.StatusCode.NOT_FOUND
        case NameTaken():
            return grpc.StatusCode.ALREADY_EXISTS
        case Quarantined():
            return grpc.StatusCode.DATA_LOSS
        case StaleToken():
            return grpc.StatusCode.ABORTED
        case Ended() | NotEnded() | CallbackClosed():
            return grpc.StatusCode.FAILED_PRECONDITION
        case _:
            return grpc.StatusCode.INTERNAL
