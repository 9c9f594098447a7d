"""CheckpointDurableExecution and GetDurableExecutionState, for SDKs that call them directly."""

import base64
import binascii
from hashlib import blake2b
from typing import Final

from starlette.responses import Response

from perdure_core import limits
from perdure_core.form import check_client_token
from perdure_core.identity import parse_arn
from perdure_core.refusals import Invalid, Unknown
from perdure_gateway import checks
from perdure_gateway.lambda_api.answers import json_response, present
from perdure_gateway.lambda_api.call import Call, decoded
from perdure_gateway.lambda_api.render import operation_json
from perdure_gateway.lambda_api.shapes import CheckpointShape

# Payloads are JSON themselves, and their quotation marks are escaped.
CHECKPOINT_BODY_BYTES_MAX: Final = 2 * limits.CHECKPOINT_BYTES_MAX

# Where a token names its execution: after version and bucket (the layout is in the host's tokens).
_EXECUTION_ID: Final = slice(3, 19)


async def checkpoint(call: Call) -> Response:
    """Accept a batch of updates; the answer holds what changed since the handler last saw it."""
    body = await call.body.read(CHECKPOINT_BODY_BYTES_MAX)
    shape = decoded(body, CheckpointShape)
    _check_token(call.place("arn"), shape.checkpoint_token)
    updates = shape.updates or ()
    checks.check_count("Updates", len(updates), limits.CHECKPOINT_UPDATES_MAX)
    # Without a token of the client's, a repeat is what has the same content.
    client_token = shape.client_token or blake2b(body, digest_size=16).hexdigest()
    check_client_token(client_token)
    try:
        answer = await call.history.checkpoint(
            shape.checkpoint_token, client_token, tuple([update.in_core() for update in updates])
        )
    except Unknown as error:
        raise Invalid(f"Invalid checkpoint token: {error}") from None
    operations = [operation_json(operation) for operation in answer.operations]
    return json_response(
        present(CheckpointToken=answer.token or None, NewExecutionState={"Operations": operations})
    )


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
        raise Invalid(f"Invalid checkpoint token: {error}") from None
    return json_response(
        present(
            Operations=[operation_json(operation) for operation in page.operations],
            NextMarker=page.next_marker or None,
        )
    )


def _check_token(arn: str, token: str) -> None:
    """Raise Invalid unless the token says that it is of this execution; history proves the rest."""
    execution_id = parse_arn(arn).execution_id
    try:
        named = base64.b64decode(token.encode("ascii"), validate=True)[_EXECUTION_ID]
    except (binascii.Error, UnicodeEncodeError):
        raise Invalid("Invalid checkpoint token: it is not base64") from None
    if named.hex() != execution_id:
        raise Invalid("Invalid checkpoint token: it belongs to another execution")
