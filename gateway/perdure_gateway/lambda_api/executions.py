"""GetDurableExecution, GetDurableExecutionHistory, ListDurableExecutionsByFunction."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

from perdure_core.payload import StoredPayload
from perdure_core.state import State
from perdure_gateway.admission import validation
from perdure_gateway.lambda_api.event_resources import event_json
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.resources import execution_json, summary_json
from perdure_gateway.lambda_api.responses import encoded, json_response
from perdure_gateway.views.history_page import PageRequest, read_page
from perdure_gateway.views.list_markers import list_marker, list_position
from perdure_gateway.views.payloads import load_payloads
from perdure_host.lambda_json.bounds import OPERATION_BYTES_MAX, SYNCHRONOUS_BYTES_MAX
from perdure_host.lambda_json.fields import present
from perdure_host.ports import FunctionRow, ListQuery
from perdure_host.services import NumberedEvent, key_of

_EVENTS: Final = "lambda events"
_EVENTS_REVERSED: Final = "lambda events reversed"
_EXECUTIONS: Final = "lambda executions"


async def get(request: LambdaRequest) -> Response:
    """Return the execution without its history."""
    included = request.flag("IncludeExecutionData", default=True)
    arn = request.path_param("arn")
    state = await request.queries.describe(arn)
    texts: Mapping[StoredPayload, str] = {}
    while included:
        references = _references(state)
        if all(reference in texts for reference in references):
            break
        texts = await load_payloads(request.queries, key_of(arn), references, request.reservation)
        # The execution may have ended while they were read.
        state = await request.queries.describe(arn)
    return json_response(execution_json(state, texts, included=included))


async def history(request: LambdaRequest) -> Response:
    """Return one page of events; it ends early when it has grown large."""
    arn, limit = request.path_param("arn"), request.items()
    included = request.flag("IncludeExecutionData", default=True)
    reverse = request.flag("ReverseOrder", default=False)
    execution_id = key_of(arn).execution_id

    def render(numbered: NumberedEvent) -> bytes:
        return encoded(event_json(numbered, execution_id, included=included))

    page = await read_page(
        request.queries,
        PageRequest(
            arn=arn,
            kind=_EVENTS_REVERSED if reverse else _EVENTS,
            marker=request.text("Marker"),
            limit=limit,
            reverse=reverse,
            payload_bytes_max=OPERATION_BYTES_MAX if included else None,
        ),
        request.reservation,
        render=render,
        size_of=len,
    )
    events = [msgspec.Raw(event) for event in page.events]
    return json_response(present(Events=events, NextMarker=page.next_marker))


async def list_by_function(request: LambdaRequest) -> Response:
    """Return one page of a function's executions, newest first unless reversed."""
    function = await request.function()
    limit = request.items()
    page = await request.queries.list_executions(_list_query(request, function, limit))
    executions = [summary_json(row) for row in page.rows]
    marker = list_marker(_EXECUTIONS, page)
    return json_response(present(DurableExecutions=executions, NextMarker=marker))


def _references(state: State) -> list[StoredPayload]:
    """Return the references to load: to payloads that clients may receive, and to the error."""
    references = [
        payload
        for payload in (state.input, state.result)
        if isinstance(payload, StoredPayload) and payload.size <= SYNCHRONOUS_BYTES_MAX
    ]
    if state.error is not None and state.error.kept is not None:
        references.append(state.error.kept)
    return references


def _list_query(request: LambdaRequest, function: FunctionRow, limit: int) -> ListQuery:
    name = request.http_request.query_params.get("DurableExecutionName")  # "" is refused
    if name is not None:
        validation.check_execution_name(name)
    statuses = tuple(request.http_request.query_params.getlist("Statuses"))
    validation.check_statuses(statuses)
    marker = request.text("Marker")
    return ListQuery(
        namespace=function.namespace,
        limit=limit,
        function=function.name,
        name=name or "",
        statuses=statuses,
        started_after_ms=request.timestamp_ms("StartedAfter"),
        started_before_ms=request.timestamp_ms("StartedBefore"),
        oldest_first=request.flag("ReverseOrder", default=False),
        after=None if marker is None else list_position(_EXECUTIONS, marker),
    )
