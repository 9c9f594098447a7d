"""StopDurableExecution, PauseDurableExecution, ResumeDurableExecution, DeleteDurableExecution."""

from typing import Final

from starlette.responses import Response

from perdure_core.limits import REASON_CHARS_MAX
from perdure_core.validation import check_client_token, check_error
from perdure_gateway.admission import validation
from perdure_gateway.lambda_api.callbacks import ERROR_BODY_BYTES_MAX
from perdure_gateway.lambda_api.request import Call
from perdure_gateway.lambda_api.responses import json_response
from perdure_gateway.lambda_api.shapes import PauseShape
from perdure_host.lambda_json.fields import seconds
from perdure_host.lambda_json.shapes import ErrorShape

ACCEPTED: Final = 202
# JSON may spell one character as twelve bytes.
PAUSE_BODY_BYTES_MAX: Final = 16 * REASON_CHARS_MAX


async def stop(call: Call) -> Response:
    """End it at once; the whole body is the error that it ends with, and may be left out."""
    shape = await call.read(ErrorShape, ERROR_BODY_BYTES_MAX)
    error = None if shape == ErrorShape() else shape.in_core()
    check_error("Error", error)
    stopped_ms = await call.history.stop(call.place("arn"), error)
    return json_response({"StopTimestamp": seconds(stopped_ms)})


async def pause(call: Call) -> Response:
    """Begin no further invocation. Pausing twice is pausing once, so the token is not needed."""
    shape = await _pause_shape(call)
    timeout_paused = shape.execution_timeout_paused is not False
    await call.history.pause(call.place("arn"), reason=shape.reason, timeout_paused=timeout_paused)
    return json_response({}, status=ACCEPTED)


async def resume(call: Call) -> Response:
    """Take a pause back. Resuming twice is resuming once, so the token is not needed."""
    shape = await _pause_shape(call)
    await call.history.resume(call.place("arn"), reason=shape.reason)
    return json_response({}, status=ACCEPTED)


async def delete(call: Call) -> Response:
    """Let retention sweep it now."""
    requested_ms = await call.history.delete(call.place("arn"))
    return json_response({"DeletionRequestTimestamp": seconds(requested_ms)}, status=ACCEPTED)


async def _pause_shape(call: Call) -> PauseShape:
    shape = await call.read(PauseShape, PAUSE_BODY_BYTES_MAX)
    if shape.client_token is not None:
        check_client_token(shape.client_token)
    validation.check_length("Reason", shape.reason or "", REASON_CHARS_MAX)
    return shape
