"""Pages of histories and of lists of executions, in the messages of the contract."""

from functools import partial
from itertools import islice
from typing import Final

from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.refusals import Invalid
from perdure_core.state import State, is_open
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.views.event_messages import event_to_message
from perdure_gateway.views.history_page import PageRequest, read_page
from perdure_gateway.views.list_markers import list_marker, list_position
from perdure_gateway.views.messages import open_callback_to_message, summary_to_message
from perdure_host.codec import ms_from_timestamp
from perdure_host.ports import ListQuery
from perdure_host.services import HistoryQueries
from perdure_host.tokens import pack_marker, unpack_marker
from perdure_proto.v1 import client_pb2, model_pb2

_EVENTS: Final = "events"
_EVENTS_REVERSED: Final = "events reversed"
_EXECUTIONS: Final = "executions"
_OPEN_CALLBACKS: Final = "open callbacks"


async def history_page(
    queries: HistoryQueries,
    request: client_pb2.GetExecutionHistoryRequest,
    reservation: Reservation,
) -> client_pb2.GetExecutionHistoryResponse:
    """Return one page of events. Raises Invalid, Unknown."""
    limit = validation.checked_page_items("max_items", request.max_items)
    exclude_data = request.exclude_execution_data
    page = await read_page(
        queries,
        PageRequest(
            arn=request.execution_arn,
            kind=_EVENTS_REVERSED if request.reverse_order else _EVENTS,
            marker=request.marker,
            limit=limit,
            reverse=request.reverse_order,
            payload_bytes_max=None if exclude_data else PAYLOAD_BYTES_MAX,
        ),
        reservation,
        render=partial(event_to_message, exclude_data=exclude_data),
        size_of=model_pb2.Event.ByteSize,
    )
    return client_pb2.GetExecutionHistoryResponse(
        events=page.events, next_marker=page.next_marker or ""
    )


async def execution_page(
    queries: HistoryQueries, request: client_pb2.ListExecutionsRequest
) -> client_pb2.ListExecutionsResponse:
    """Return one page of executions. Raises Invalid."""
    limit = validation.checked_page_items("max_items", request.max_items)
    page = await queries.list_executions(_list_query(request, limit))
    return client_pb2.ListExecutionsResponse(
        executions=[
            summary_to_message(row, queries.quarantine_reason(row.key)) for row in page.rows
        ],
        next_marker=list_marker(_EXECUTIONS, page) or "",
    )


def open_callback_page(
    state: State, request: client_pb2.ListOpenCallbacksRequest
) -> client_pb2.ListOpenCallbacksResponse:
    """Return one page of open callbacks. Raises Invalid."""
    limit = validation.checked_page_items("max_items", request.max_items)
    after = 0
    if request.marker:
        (after,) = unpack_marker(_OPEN_CALLBACKS, request.marker, tuple[int])
    callbacks = state.open_callbacks if is_open(state) else {}
    later = (each for each, number in callbacks.items() if number > after)
    page = list(islice(later, limit))
    marker = ""
    if next(later, None) is not None:
        marker = pack_marker(_OPEN_CALLBACKS, (callbacks[page[-1]],))
    return client_pb2.ListOpenCallbacksResponse(
        open_callbacks=[open_callback_to_message(state, each) for each in page],
        next_marker=marker,
    )


def _list_query(request: client_pb2.ListExecutionsRequest, limit: int) -> ListQuery:
    statuses = tuple(request.statuses)
    validation.check_statuses(statuses)
    if request.function_name:
        validation.check_function_name(request.function_name)
    if request.execution_name:
        validation.check_execution_name(request.execution_name)
    if request.execution_name_prefix:
        validation.check_execution_name_prefix(request.execution_name_prefix)
        if request.execution_name:
            raise Invalid(
                "execution_name_prefix must be empty beside execution_name, got both."
                " Send one of them."
            )
    marker = request.marker
    return ListQuery(
        namespace=validation.NAMESPACE,
        limit=limit,
        function=request.function_name,
        name=request.execution_name,
        name_prefix=request.execution_name_prefix,
        statuses=statuses,
        started_after_ms=ms_from_timestamp(request.started_after)
        if request.HasField("started_after")
        else None,
        started_before_ms=ms_from_timestamp(request.started_before)
        if request.HasField("started_before")
        else None,
        oldest_first=request.reverse_order,
        after=list_position(_EXECUTIONS, marker) if marker else None,
    )
