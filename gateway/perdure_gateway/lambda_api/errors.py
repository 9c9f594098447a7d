"""HTTP responses for failed calls, with the error codes of the Lambda API.

Must stay true: an error that is not a refusal becomes a ServiceException, which clients retry.
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
    """Return the response for a failed call."""
    if isinstance(error, LambdaError):
        return error_response(error.code, str(error))
    status = status_of(error)
    code = _CODES.get(status.code, Code.SERVICE)
    unavailable = status.code is grpc.StatusCode.UNAVAILABLE
    response = error_response(code, status.message, UNAVAILABLE if unavailable else None)
    if status.retry_after_s is not None:
        response.headers["retry-after"] = str(status.retry_after_s)
    return response


def error_response(code: Code, message: str, status: int | None = None) -> Response:
    """Return the response that clients turn into an exception of this code."""
    failed = failure(code, message, status)
    return json_response(failed.body, status=failed.status, headers=failed.headers)
