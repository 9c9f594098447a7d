"""Invoke: start an execution and wait for its end (RequestResponse), or not (Event), or neither.

Must stay true: a waiting caller holds a connection, so their number is bounded; waiting ends when
the caller has gone; and a failed execution is a response, never a failed call, which clients would
retry.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from perdure_core.large_payloads import error_from
from perdure_core.limits import EXECUTION_WAIT_MS_MAX
from perdure_core.model import EXECUTION_OPEN, ErrorObject, ExecutionStatus
from perdure_core.payload import StoredPayload, bytes_of
from perdure_core.refusals import Invalid
from perdure_core.start_validation import StartFields, check_start
from perdure_core.state import State
from perdure_core.text import preview
from perdure_core.validation import check_client_context
from perdure_gateway.errors import ResourceExhausted
from perdure_gateway.lambda_api.callbacks import text_of
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.responses import encoded
from perdure_gateway.views.payloads import load_payloads
from perdure_host.lambda_json.bounds import OPERATION_BYTES_MAX, SYNCHRONOUS_BYTES_MAX
from perdure_host.lambda_json.failures import Code, LambdaError, decoded
from perdure_host.lambda_json.names import VERSION
from perdure_host.ports import FunctionRow
from perdure_host.services import StartRequest, key_of

# Fewer than the connections of the port, so that other calls are still accepted.
WAITS_MAX: Final = 1_500

# The input of a handler when the caller sends none.
_NOTHING_SENT: Final = "{}"

_START_FIELDS: Final = StartFields(
    name="header X-Amz-Durable-Execution-Name",
    input="payload",
    tenant_id="header X-Amz-Tenant-Id",
    trace_header="header X-Amzn-Trace-Id",
    client_context="header X-Amz-Client-Context",
)


class InvocationType(StrEnum):
    """The kinds of Invoke: wait for the end, return at once, or only check the request."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


class LogType(StrEnum):
    """The part of the log that the caller requests. Workers keep the logs, so none is returned."""

    NONE = "None"
    TAIL = "Tail"


_BYTES_MAX: Final = {
    InvocationType.REQUEST_RESPONSE: SYNCHRONOUS_BYTES_MAX,
    InvocationType.EVENT: OPERATION_BYTES_MAX,
    InvocationType.DRY_RUN: SYNCHRONOUS_BYTES_MAX,
}


class Invoker:
    """Serves Invoke, with a bound on the number of waiting callers."""

    def __init__(
        self,
        wait_ms: int = EXECUTION_WAIT_MS_MAX,
        waits: int = WAITS_MAX,
        *,
        require_qualified: bool = False,
    ) -> None:
        """With `require_qualified`, refuse bare names of durable functions, as Lambda does."""
        self._require_qualified = require_qualified
        self._wait_ms = wait_ms
        self._waits_free = waits

    async def invoke(self, request: LambdaRequest) -> Response:
        """Start an execution, wait for it, or only check the request, by the invocation type."""
        kind = _invocation_type(request)
        _check_log_type(request)
        row = await request.function()
        if self._require_qualified and row.durable and request.qualifier() is None:
            raise Invalid("You cannot invoke a durable function using an unqualified ARN.")
        start = _start_request(request, kind, row, await request.body.read(_BYTES_MAX[kind]))
        if kind is InvocationType.DRY_RUN:
            check_start(start, start.fields)
            return Response(status_code=204)
        waits = kind is InvocationType.REQUEST_RESPONSE
        request.overload.admit_start(start.namespace, start.function, waits=waits)
        if kind is InvocationType.EVENT:
            answer = await request.commands.start(start)
            return Response(status_code=202, headers=_headers(answer.arn))
        return await self._start_and_wait(request, start)

    async def _start_and_wait(self, request: LambdaRequest, start: StartRequest) -> Response:
        if self._waits_free == 0:
            raise ResourceExhausted(
                "too many callers wait for executions. Invoke with the type Event"
            )
        self._waits_free -= 1
        try:
            arn = (await request.commands.start(start)).arn
            request.body.release()
            async with request.readiness.while_serving():
                await _wait_ended_or_gone(request, arn, self._wait_ms)
        finally:
            self._waits_free += 1
        state = await request.queries.describe(arn)
        result = state.result
        if isinstance(result, StoredPayload) and result.size <= SYNCHRONOUS_BYTES_MAX:
            texts = await load_payloads(
                request.queries, key_of(arn), (result,), request.reservation
            )
            return _succeeded(arn, texts[result])
        error = state.error
        if error is not None and error.kept is not None:
            texts = await load_payloads(
                request.queries, key_of(arn), (error.kept,), request.reservation
            )
            error = error_from(error, texts)
        return _outcome(arn, state, error, self._wait_ms)


def _invocation_type(request: LambdaRequest) -> InvocationType:
    kind = request.header("x-amz-invocation-type") or InvocationType.REQUEST_RESPONSE
    try:
        return InvocationType(kind)
    except ValueError:
        known = " | ".join(InvocationType)
        raise Invalid(f"invocation type must be one of {known}, got {preview(kind)}") from None


def _start_request(
    request: LambdaRequest, kind: InvocationType, row: FunctionRow, body: bytes
) -> StartRequest:
    client_context = _client_context(request)
    if body:
        decoded(body, msgspec.Raw)
    return StartRequest(
        namespace=row.namespace,
        function=row.name,
        name=request.http_request.headers.get("x-amz-durable-execution-name"),  # "" is refused
        input=text_of(body) or _NOTHING_SENT,
        tenant_id=request.header("x-amz-tenant-id"),
        trace_header=request.header("x-amzn-trace-id"),
        # As on Lambda, only synchronous invocations pass it on.
        client_context=client_context if kind is InvocationType.REQUEST_RESPONSE else None,
        fields=_START_FIELDS,
    )


def _client_context(request: LambdaRequest) -> str | None:
    """Return the client context, in base64 as it was sent. Raises Invalid, LambdaError."""
    context = request.header("x-amz-client-context")
    if context is None:
        return None
    # Core sees only that of a synchronous invocation.
    check_client_context(_START_FIELDS.client_context, context)
    try:
        fields = json.loads(base64.b64decode(context.encode("ascii"), validate=True))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise LambdaError(
            Code.CONTENT_INVALID, "Client context must be a valid Base64-encoded JSON object."
        )
    return context


def _check_log_type(request: LambdaRequest) -> None:
    log_type = request.header("x-amz-log-type") or LogType.NONE
    try:
        LogType(log_type)
    except ValueError:
        known = " | ".join(LogType)
        raise Invalid(f"log type must be one of {known}, got {preview(log_type)}") from None


async def _wait_ended_or_gone(request: LambdaRequest, arn: str, wait_ms: int) -> None:
    ended = asyncio.ensure_future(request.queries.wait_ended(arn, wait_ms))
    gone = asyncio.ensure_future(_wait_gone(request.http_request))
    try:
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        ended.cancel()
        await asyncio.gather(ended, gone, return_exceptions=True)
    if not ended.cancelled():
        ended.result()


async def _wait_gone(http_request: Request) -> None:
    while (await http_request.receive())["type"] != "http.disconnect":
        pass


def _outcome(arn: str, state: State, error: ErrorObject | None, wait_ms: int) -> Response:
    result = state.result
    size = bytes_of(result)
    if state.status is not ExecutionStatus.SUCCEEDED:
        return _failed(arn, _error_body(state, error, wait_ms))
    if isinstance(result, StoredPayload) or size > SYNCHRONOUS_BYTES_MAX:
        # The message of the service for a response that is too large; the result stays recorded.
        message = (
            f"Response payload size ({size} bytes) exceeded maximum allowed payload size"
            f" ({SYNCHRONOUS_BYTES_MAX} bytes)."
        )
        error_type = "Function.ResponseSizeTooLarge"
        return _failed(arn, {"errorMessage": message, "errorType": error_type})
    return _succeeded(arn, result)


def _succeeded(arn: str, result: str | None) -> Response:
    body = (result or "null").encode()
    return Response(body, headers=_headers(arn), media_type="application/json")


def _failed(arn: str, error: Mapping[str, object]) -> Response:
    headers = {**_headers(arn), "x-amz-function-error": "Unhandled"}
    return Response(encoded(error), headers=headers, media_type="application/json")


def _error_body(state: State, error: ErrorObject | None, wait_ms: int) -> dict[str, object]:
    """Return the failure in the form of Lambda's runtimes."""
    if state.status in EXECUTION_OPEN:
        message = (
            f"the execution has not ended after {wait_ms / 1_000:g} s and goes on;"
            f" its status is {state.status}"
        )
        return {"errorMessage": message, "errorType": "Invoke.Timeout", "stackTrace": []}
    return {
        "errorMessage": (error.message if error else None) or f"the execution {state.status}",
        "errorType": (error.type if error else None) or str(state.status),
        "stackTrace": error.stack_trace if error else (),
    }


def _headers(arn: str) -> dict[str, str]:
    return {"x-amz-durable-execution-arn": arn, "x-amz-executed-version": VERSION}
