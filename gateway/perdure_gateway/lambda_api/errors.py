"""What a Lambda client is told when a call fails: status, code in a header, and a JSON body.

Must stay true: the bodies name their message as the shapes of the model do (some say `Message`,
others `message`), and what is no refusal is told as ServiceException, which clients try again.
"""

from enum import StrEnum
from typing import Final

import grpc
from starlette.responses import Response

from perdure_gateway.lambda_api.answers import json_response
from perdure_gateway.statuses import MESSAGE_CHARS_MAX, status_of

RETRY_AFTER_S: Final = 1


class Code(StrEnum):
    """The error codes of the model that we use."""

    ACCESS_DENIED = "AccessDeniedException"
    ALREADY_STARTED = "DurableExecutionAlreadyStartedException"
    CALLBACK_TIMEOUT = "CallbackTimeoutException"
    CONFLICT = "ResourceConflictException"
    CONTENT_INVALID = "InvalidRequestContentException"
    NOT_FOUND = "ResourceNotFoundException"
    OPERATION_UNKNOWN = "UnknownOperationException"
    PARAMETER_INVALID = "InvalidParameterValueException"
    SERVICE = "ServiceException"
    TOO_LARGE = "RequestTooLargeException"
    TOO_MANY = "TooManyRequestsException"


class LambdaError(Exception):
    """A failure that has a code of its own here; the message is fit for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


_STATUSES: Final = {
    Code.ACCESS_DENIED: 403,
    Code.ALREADY_STARTED: 409,
    Code.CALLBACK_TIMEOUT: 400,
    Code.CONFLICT: 409,
    Code.CONTENT_INVALID: 400,
    Code.NOT_FOUND: 404,
    Code.OPERATION_UNKNOWN: 404,
    Code.PARAMETER_INVALID: 400,
    Code.SERVICE: 500,
    Code.TOO_LARGE: 413,
    Code.TOO_MANY: 429,
}
_MESSAGE_IN_LOWER_CASE: Final = frozenset(
    {
        Code.CONFLICT,
        Code.CONTENT_INVALID,
        Code.PARAMETER_INVALID,
        Code.TOO_LARGE,
        Code.TOO_MANY,
    }
)
_CODES: Final = {
    grpc.StatusCode.ABORTED: Code.PARAMETER_INVALID,
    grpc.StatusCode.ALREADY_EXISTS: Code.ALREADY_STARTED,
    grpc.StatusCode.FAILED_PRECONDITION: Code.CONFLICT,
    grpc.StatusCode.INVALID_ARGUMENT: Code.PARAMETER_INVALID,
    grpc.StatusCode.NOT_FOUND: Code.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.TOO_MANY,
}
_UNAVAILABLE: Final = 503


def response_of(error: Exception) -> Response:
    """Return what the caller of the failed call is told."""
    if isinstance(error, LambdaError):
        return error_response(error.code, str(error))
    status = status_of(error)
    code = _CODES.get(status.code, Code.SERVICE)
    unavailable = status.code is grpc.StatusCode.UNAVAILABLE
    return error_response(code, status.message, _UNAVAILABLE if unavailable else None)


def error_response(code: Code, message: str, status: int | None = None) -> Response:
    """Return the answer that clients turn into an exception of this code."""
    sent = _STATUSES[code] if status is None else status
    headers = {"x-amzn-errortype": str(code)}
    if code is Code.TOO_MANY:
        headers["retry-after"] = str(RETRY_AFTER_S)
    key = "message" if code in _MESSAGE_IN_LOWER_CASE else "Message"
    whose = "Service" if code is Code.SERVICE else "User"
    body = {"Type": whose, key: message[:MESSAGE_CHARS_MAX]}
    return json_response(body, status=sent, headers=headers)
