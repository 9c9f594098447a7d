"""CheckpointDurableExecution and GetDurableExecutionState, for SDKs that call them directly."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from perdure_core.identity import parse_arn
from perdure_core.model import OperationUpdate
from perdure_core.refusals import Invalid, Unknown
from perdure_gateway.lambda_api.answers import json_response
from perdure_gateway.lambda_api.call import Call
from perdure_gateway.lambda_api.door import INVOKE_FUNCTION
from perdure_host.lambda_json.checkpoints import (
    CHECKPOINT_BODY_BYTES_MAX,
    TURN_REFUSED,
    checkpoint_json,
    checkpoint_request,
    state_json,
)
from perdure_host.lambda_json.names import function_arn

# Where a token names its execution: after version and bucket (the layout is in the host's tokens).
_EXECUTION_ID: Final = slice(3, 19)


async def checkpoint(call: Call) -> Response:
    """Accept a batch of updates; the answer holds what changed since the handler last saw it."""
    body = await call.body.read(CHECKPOINT_BODY_BYTES_MAX)
    request = checkpoint_request(body)
    await _check_token(call, request.token)
    _check_children(call, request.updates)
    try:
        answer = await call.history.checkpoint(request.token, request.client_token, request.updates)
    except Unknown as error:
        raise Invalid(f"{TURN_REFUSED}: {error}") from None
    return json_response(checkpoint_json(answer.token or None, answer.operations))


async def state(call: Call) -> Response:
    """Return one page of the operations of the running invocation; uses no token up."""
    token = call.text("CheckpointToken")
    if token is None:
        raise Invalid("CheckpointToken is missing")
    await _check_token(call, token)
    limit = call.items()
    try:
        page = await call.history.state_page(token, call.text("Marker") or "", limit)
    except Unknown as error:
        raise Invalid(f"{TURN_REFUSED}: {error}") from None
    return json_response(state_json(page.operations, page.next_marker or None))


def _check_children(call: Call, updates: Sequence[OperationUpdate]) -> None:
    """Raise LambdaError unless the caller may invoke every function that is to be invoked."""
    namespace = parse_arn(call.place("arn")).namespace
    for update in updates:
        if update.function is not None:
            call.caller.check(INVOKE_FUNCTION, function_arn(namespace, update.function))


async def _check_token(call: Call, token: str) -> None:
    """Raise Invalid unless the token says that it is of this execution; history proves the rest."""
    arn = call.place("arn")
    execution_id = parse_arn(arn).execution_id
    try:
        named = base64.b64decode(token.encode("ascii"), validate=True)[_EXECUTION_ID]
    except (binascii.Error, UnicodeEncodeError):
        raise Invalid(f"{TURN_REFUSED}: it is not base64") from None
    if named.hex() != execution_id:
        raise Invalid(f"{TURN_REFUSED}: it belongs to another execution")
    if call.caller.is_limited:
        # Rights were looked up by the ARN; history knows whether all of it is true.
        await call.history.describe(arn)
