"""What a Lambda client is told when a call fails, as an answer over HTTP.

Must stay true: what is no refusal is told as ServiceException, which clients try again.
"""

from typing import Final

import grpc
from starlette.responses import Response

from perdure_gateway.lambda_api.responses import json_response
from perdure_gateway.status_codes import status_of
from perdure_host.lambda_json.failures import UNAVAILABLE, Code, LambdaError, failure

_CODES: Final = {
    grpc.StatusCode.ABORTED: Code.PARAMETER_INVALID,
    grpc.StatusCode.ALREADY_EXISTS: Code.ALREADY_STARTED,
    grpc.StatusCode.FAILED_PRECONDITION: Code.CONFLICT,
    grpc.StatusCode.INVALID_ARGUMENT: Code.PARAMETER_INVALID,
    grpc.StatusCode.NOT_FOUND: Code.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.TOO_MANY,
}


def response_of(error: Exception) -> Response:
    """Return what the caller of the failed call is told."""
    if isinstance(error, LambdaError):
        return error_response(error.code, str(error))
    status = status_of(error)
    code = _CODES.get(status.code, Code.SERVICE)
    unavailable = status.code is grpc.StatusCode.UNAVAILABLE
    return error_response(code, status.message, UNAVAILABLE if unavailable else None)


def error_response(code: Code, message: str, status: int | None = None) -> Response:
    """Return the answer that clients turn into an exception of this code."""
    told = failure(code, message, status)
    return json_response(told.body, status=told.status, headers=told.headers)
