"""Error responses of the Lambda API: status, error code in a header, and a JSON body.

Must stay true: the key of the message is that of the model's shape (`Message` in some, `message` in
others).
"""

from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

import msgspec

from perdure_core.refusals import Invalid

RETRY_AFTER_S: Final = 1
MESSAGE_CHARS_MAX: Final = 1_000
UNAVAILABLE: Final = 503
# Every response has this header, also successful ones: people quote it when they report a problem.
REQUEST_ID: Final = "x-amzn-requestid"

_Shape = TypeVar("_Shape")


class Code(StrEnum):
    """Error codes: those of the model, and those of every signed API of AWS."""

    ACCESS_DENIED = "AccessDeniedException"
    ALREADY_STARTED = "DurableExecutionAlreadyStartedException"
    CALLBACK_TIMEOUT = "CallbackTimeoutException"
    CLIENT_UNKNOWN = "UnrecognizedClientException"
    CONFLICT = "ResourceConflictException"
    CONTENT_INVALID = "InvalidRequestContentException"
    NOT_FOUND = "ResourceNotFoundException"
    OPERATION_UNKNOWN = "UnknownOperationException"
    PARAMETER_INVALID = "InvalidParameterValueException"
    SERVICE = "ServiceException"
    SIGNATURE_INCOMPLETE = "IncompleteSignatureException"
    SIGNATURE_INVALID = "InvalidSignatureException"
    SIGNATURE_MISSING = "MissingAuthenticationTokenException"
    TOO_LARGE = "RequestTooLargeException"
    TOO_MANY = "TooManyRequestsException"


class LambdaError(Exception):
    """A failure with one of the error codes; the message can be shown to users."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


_STATUSES: Final = {
    Code.ACCESS_DENIED: 403,
    Code.ALREADY_STARTED: 409,
    Code.CALLBACK_TIMEOUT: 400,
    Code.CLIENT_UNKNOWN: 403,
    Code.CONFLICT: 409,
    Code.CONTENT_INVALID: 400,
    Code.NOT_FOUND: 404,
    Code.OPERATION_UNKNOWN: 404,
    Code.PARAMETER_INVALID: 400,
    Code.SERVICE: 500,
    Code.SIGNATURE_INCOMPLETE: 403,
    Code.SIGNATURE_INVALID: 403,
    Code.SIGNATURE_MISSING: 403,
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


class Failure(NamedTuple):
    """A response that clients turn into an exception."""

    status: int
    headers: dict[str, str]
    body: dict[str, object]


def failure(code: Code, message: str, status: int | None = None) -> Failure:
    """Return the response that clients turn into an exception of this code."""
    headers = {"x-amzn-errortype": str(code)}
    if code is Code.TOO_MANY or status == UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_S)
    key = "message" if code in _MESSAGE_IN_LOWER_CASE else "Message"
    whose = "Service" if code is Code.SERVICE else "User"
    body: dict[str, object] = {"Type": whose, key: message[:MESSAGE_CHARS_MAX]}
    return Failure(_STATUSES[code] if status is None else status, headers, body)


def decoded(body: bytes, shape: type[_Shape]) -> _Shape:
    """Parse JSON. Raises LambdaError if it is not JSON, Invalid if it has another shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LambdaError(
            Code.CONTENT_INVALID, f"could not parse the request body as JSON: {error}"
        ) from None
