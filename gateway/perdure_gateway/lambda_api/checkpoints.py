"""CheckpointDurableExecution and GetDurableExecutionState, for SDKs that call them directly."""

import base64
import binascii
from typing import Final

from starlette.responses import Response

from perdure_core.identity import parse_arn
from perdure_core.refusals import Invalid, Unknown
from perdure_gateway.lambda_api.answers import json_response
from perdure_gateway.lambda_api.call import Call
from perdure_host.lambda_json.checkpoints import (
    CHECKPOINT_BODY_BYTES_MAX,
    TURN_REFUSED,
    checkpoint_json,
    checkpoint_request,
    state_json,
)

# Where a token names its execution: after version and bucket (the layout is in the host's tokens).
_EXECUTION_ID: Final = slice(3, 19)


async def checkpoint(call: Call) -> Response:
    """Accept a batch of updates; the answer holds what changed since the handler last saw it."""
    body = await call.body.read(CHECKPOINT_BODY_BYTES_MAX)
    request = checkpoint_request(body)
    _check_token(call.place("arn"), request.token)
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
    _check_token(call.place("arn"), token)
    limit = call.items()
    try:
        page = await call.history.state_page(token, call.text("Marker") or "", limit)
    except Unknown as error:
        raise Invalid(f"{TURN_REFUSED}: {error}") from None
    return json_response(state_json(page.operations, page.next_marker or None))


def _check_token(arn: str, token: str) -> None:
    """Raise Invalid unless the token says that it is of this execution; history proves the rest."""
    execution_id = parse_arn(arn).execution_id
    try:
        named = base64.b64decode(token.encode("ascii"), validate=True)[_EXECUTION_ID]
    except (binascii.Error, UnicodeEncodeError):
        raise Invalid(f"{TURN_REFUSED}: it is not base64") from None
    if named.hex() != execution_id:
        raise Invalid(f"{TURN_REFUSED}: it belongs to another execution")
