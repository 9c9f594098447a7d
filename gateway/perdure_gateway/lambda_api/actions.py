"""StopDurableExecution, PauseDurableExecution, ResumeDurableExecution, DeleteDurableExecution."""

from typing import Final

from starlette.responses import Response

from perdure_core.limits import REASON_CHARS_MAX
from perdure_core.validation import check_client_token
from perdure_gateway.lambda_api.callbacks import ERROR_BODY_BYTES_MAX
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.responses import json_response
from perdure_gateway.lambda_api.shapes import PauseShape
from perdure_host.lambda_json.fields import seconds
from perdure_host.lambda_json.shapes import ErrorShape

ACCEPTED: Final = 202
# JSON may write one character as twelve bytes.
PAUSE_BODY_BYTES_MAX: Final = 16 * REASON_CHARS_MAX


async def stop(request: LambdaRequest) -> Response:
    """Stop an execution at once; the whole body is its error, and is optional."""
    shape = await request.read(ErrorShape, ERROR_BODY_BYTES_MAX)
    error = None if shape == ErrorShape() else shape.to_core()
    stopped_ms = await request.commands.stop(request.path_param("arn"), error)
    return json_response({"StopTimestamp": seconds(stopped_ms)})


async def pause(request: LambdaRequest) -> Response:
    """Pause an execution. A repeated pause changes nothing, so the client token is not needed."""
    shape = await _pause_shape(request)
    timeout_paused = shape.execution_timeout_paused is not False
    await request.commands.pause(
        request.path_param("arn"), reason=shape.reason, timeout_paused=timeout_paused
    )
    return json_response({}, status=ACCEPTED)


async def resume(request: LambdaRequest) -> Response:
    """Resume an execution. A repeat changes nothing, so the client token is not needed."""
    shape = await _pause_shape(request)
    await request.commands.resume(request.path_param("arn"), reason=shape.reason)
    return json_response({}, status=ACCEPTED)


async def delete(request: LambdaRequest) -> Response:
    """Delete an ended execution: retention removes it now."""
    requested_ms = await request.commands.delete(request.path_param("arn"))
    return json_response({"DeletionRequestTimestamp": seconds(requested_ms)}, status=ACCEPTED)


async def _pause_shape(request: LambdaRequest) -> PauseShape:
    shape = await request.read(PauseShape, PAUSE_BODY_BYTES_MAX)
    if shape.client_token is not None:
        check_client_token(shape.client_token)
    return shape
