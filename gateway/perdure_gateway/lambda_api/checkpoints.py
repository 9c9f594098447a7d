"""CheckpointDurableExecution and GetDurableExecutionState, for SDKs that call them directly."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from perdure_core.identity import parse_arn
from perdure_core.large_payloads import inline_operations, references_in
from perdure_core.model import Operation, OperationType, OperationUpdate
from perdure_core.payload import bytes_of
from perdure_core.refusals import Invalid, Unknown
from perdure_core.text import preview
from perdure_core.validation import check_payload, error_bytes
from perdure_gateway.lambda_api.authentication import INVOKE_FUNCTION
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.responses import json_response
from perdure_gateway.views.payloads import load_payloads
from perdure_host.lambda_json.bounds import (
    CHECKPOINT_BYTES_MAX,
    OPERATION_BYTES_MAX,
    SYNCHRONOUS_BYTES_MAX,
)
from perdure_host.lambda_json.checkpoints import (
    CHECKPOINT_BODY_BYTES_MAX,
    CHECKPOINT_REFUSED,
    checkpoint_json,
    checkpoint_request,
    state_json,
)
from perdure_host.lambda_json.names import function_arn
from perdure_host.ports import ExecutionKey

# The bytes of a token that hold its execution id, after version and bucket (see host's tokens).
_EXECUTION_ID: Final = slice(3, 19)


async def checkpoint(request: LambdaRequest) -> Response:
    """Accept a batch of updates; the response holds the operations that changed since the last."""
    body = await request.body.read(CHECKPOINT_BODY_BYTES_MAX)
    batch = checkpoint_request(body)
    await _check_token(request, batch.token)
    _check_children(request, batch.updates)
    _check_bounds(batch.updates)
    try:
        answer = await request.invocations.checkpoint(
            batch.token, batch.client_token, batch.updates
        )
    except Unknown as error:
        raise Invalid(f"{CHECKPOINT_REFUSED}: {error}") from None
    operations = await _with_payloads(request, answer.key, answer.operations)
    return json_response(checkpoint_json(answer.token or None, operations))


async def state(request: LambdaRequest) -> Response:
    """Return one page of the operations of the running invocation; the token stays valid."""
    token = request.text("CheckpointToken")
    if token is None:
        raise Invalid("CheckpointToken is required")
    await _check_token(request, token)
    limit = request.items()
    try:
        page = await request.invocations.state_page(token, request.text("Marker") or "", limit)
    except Unknown as error:
        raise Invalid(f"{CHECKPOINT_REFUSED}: {error}") from None
    operations = await _with_payloads(request, page.key, page.operations)
    return json_response(state_json(operations, page.next_marker or None))


async def _with_payloads(
    request: LambdaRequest, key: ExecutionKey, operations: Sequence[Operation]
) -> Sequence[Operation]:
    """Return operations with all their payloads, however large: a replay needs every result."""
    texts = await load_payloads(
        request.queries, key, references_in(operations), request.reservation
    )
    return inline_operations(operations, texts)


def _check_bounds(updates: Sequence[OperationUpdate]) -> None:
    size = 0
    for update in updates:
        is_outcome = update.type is OperationType.EXECUTION
        bytes_max = SYNCHRONOUS_BYTES_MAX if is_outcome else OPERATION_BYTES_MAX
        check_payload(f"payload of operation {preview(update.id)}", update.payload, bytes_max)
        size += bytes_of(update.payload)
        size += 0 if update.error is None else error_bytes(update.error)
    if size > CHECKPOINT_BYTES_MAX:
        raise Invalid(f"a checkpoint must be at most {CHECKPOINT_BYTES_MAX:,} bytes, got {size:,}")


def _check_children(request: LambdaRequest, updates: Sequence[OperationUpdate]) -> None:
    """Raise LambdaError unless the caller may invoke every function that the updates name."""
    namespace = parse_arn(request.path_param("arn")).namespace
    for update in updates:
        if update.function is not None:
            request.principal.check(INVOKE_FUNCTION, function_arn(namespace, update.function))


async def _check_token(request: LambdaRequest, token: str) -> None:
    """Raise Invalid unless the token names this execution; history verifies the rest."""
    arn = request.path_param("arn")
    execution_id = parse_arn(arn).execution_id
    try:
        named = base64.b64decode(token.encode("ascii"), validate=True)[_EXECUTION_ID]
    except (binascii.Error, UnicodeEncodeError):
        raise Invalid(f"{CHECKPOINT_REFUSED}: it is not base64") from None
    if named.hex() != execution_id:
        raise Invalid(f"{CHECKPOINT_REFUSED}: it belongs to another execution")
    if request.principal.is_limited:
        # Rights depend on every part of the ARN, so history must confirm all of them.
        await request.queries.describe(arn)
