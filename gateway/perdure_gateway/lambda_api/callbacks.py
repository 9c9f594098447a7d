"""SendDurableExecutionCallbackSuccess, …Failure and …Heartbeat.

AWS refuses to complete a callback that is closed, also with the outcome that it has already.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from starlette.responses import Response

from perdure_core.limits import ERROR_BYTES_MAX
from perdure_core.refusals import CallbackClosed, Ended, Invalid
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.responses import json_response
from perdure_host.lambda_json.bounds import OPERATION_BYTES_MAX
from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.lambda_json.shapes import ErrorShape

# JSON may write one byte of text as six.
ERROR_BODY_BYTES_MAX: Final = 8 * ERROR_BYTES_MAX


async def succeed(request: LambdaRequest) -> Response:
    """Complete a callback; the whole body is its result, in UTF-8."""
    result = text_of(await request.body.read(OPERATION_BYTES_MAX))
    with _closed_as_timeout():
        await request.commands.succeed_callback(
            request.path_param("callback"), result or None, accept_equal=False
        )
    return json_response({})


async def fail(request: LambdaRequest) -> Response:
    """Fail a callback; the whole body is its error."""
    error = (await request.read(ErrorShape, ERROR_BODY_BYTES_MAX)).to_core()
    with _closed_as_timeout():
        await request.commands.fail_callback(
            request.path_param("callback"), error, accept_equal=False
        )
    return json_response({})


async def heartbeat(request: LambdaRequest) -> Response:
    """Restart the heartbeat timeout of a callback."""
    with _closed_as_timeout():
        await request.commands.heartbeat_callback(request.path_param("callback"))
    return json_response({})


def text_of(body: bytes) -> str:
    """Return a payload as text. Raises Invalid unless it is UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"the payload must be UTF-8; byte {error.start:,} is not") from None


@contextmanager
def _closed_as_timeout() -> Generator[None]:
    """Raise one error code for every closed callback, whatever closed it."""
    try:
        yield
    except (CallbackClosed, Ended) as error:
        raise LambdaError(Code.CALLBACK_TIMEOUT, str(error)) from None
