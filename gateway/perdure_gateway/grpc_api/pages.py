"""Pages of histories and of lists: what fits into one answer, and the marker of the next.

A page ends at the number of items that was asked for or, because a history may hold payloads of 64
MiB each, when it has grown large enough. A marker holds where the page ended, and nothing of
the filters: they are repeated by the caller.
"""

from typing import Final

from perdure_core.limits import PAGE_BYTES_MAX
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.views.event_messages import event_to_message
from perdure_gateway.views.messages import summary_to_message
from perdure_gateway.views.payloads import inline_payloads
from perdure_host.codec import ms_from_timestamp
from perdure_host.ports import ListQuery
from perdure_host.services import HistoryQueries, key_of
from perdure_host.tokens import pack_marker, unpack_marker
from perdure_proto.v1 import client_pb2, model_pb2

# Events are fetched in portions, so that a page of large ones is not held in memory ten times over.
PORTION_ITEMS_MAX: Final = 100

_EVENTS: Final = "events"
_EVENTS_REVERSED: Final = "events reversed"
_EXECUTIONS: Final = "executions"


async def history_page(
    queries: HistoryQueries,
    request: client_pb2.GetExecutionHistoryRequest,
    reservation: Reservation,
) -> client_pb2.GetExecutionHistoryResponse:
    """Return the page that is asked for. Raises Invalid, Unknown."""
    limit = validation.checked_page_items("max_items", request.max_items)
    key = key_of(request.execution_arn)
    kind = _EVENTS_REVERSED if request.reverse_order else _EVENTS
    position = unpack_marker(kind, request.marker, tuple[int])[0] if request.marker else 0
    events: list[model_pb2.Event] = []
    page_bytes = 0
    while True:
        wanted = min(PORTION_ITEMS_MAX, limit - len(events)) + 1
        portion = await queries.page(
            request.execution_arn,
            after_event_id=position,
            limit=wanted,
            reverse=request.reverse_order,
        )
        shown = portion[: wanted - 1]
        if not request.exclude_execution_data:
            room = PAGE_BYTES_MAX - page_bytes
            shown = await inline_payloads(queries, key, shown, reservation, bytes_max=room)
        for numbered in shown:
            event = event_to_message(numbered, exclude_data=request.exclude_execution_data)
            if events and page_bytes + event.ByteSize() > 2 * PAGE_BYTES_MAX:
                # It has a page to itself.
                page_bytes = PAGE_BYTES_MAX
                break
            events.append(event)
            position = numbered.event_id
            page_bytes += event.ByteSize()
            if page_bytes >= PAGE_BYTES_MAX:
                break
        if len(shown) < min(len(portion), wanted - 1):
            page_bytes = PAGE_BYTES_MAX
        more = len(portion) == wanted or page_bytes >= PAGE_BYTES_MAX
        if not more or len(events) == limit or page_bytes >= PAGE_BYTES_MAX:
            marker = pack_marker(kind, (position,)) if more else ""
            return client_pb2.GetExecutionHistoryResponse(events=events, next_marker=marker)


async def execution_page(
    queries: HistoryQueries, request: client_pb2.ListExecutionsRequest
) -> client_pb2.ListExecutionsResponse:
    """Return the page that is asked for. Raises Invalid."""
    limit = validation.checked_page_items("max_items", request.max_items)
    rows = await queries.list_executions(_list_query(request, limit + 1))
    marker = ""
    if len(rows) > limit:
        last = rows[limit - 1]
        marker = pack_marker(_EXECUTIONS, (last.started_ms, last.key.execution_id))
    return client_pb2.ListExecutionsResponse(
        executions=[summary_to_message(row) for row in rows[:limit]], next_marker=marker
    )


def _list_query(request: client_pb2.ListExecutionsRequest, limit: int) -> ListQuery:
    statuses = tuple(request.statuses)
    validation.check_statuses(statuses)
    if request.function_name:
        validation.check_function_name(request.function_name)
    if request.execution_name:
        validation.check_execution_name(request.execution_name)
    marker = request.marker
    return ListQuery(
        namespace=validation.NAMESPACE,
        limit=limit,
        function=request.function_name,
        name=request.execution_name,
        statuses=statuses,
        started_after_ms=ms_from_timestamp(request.started_after)
        if request.HasField("started_after")
        else None,
        started_before_ms=ms_from_timestamp(request.started_before)
        if request.HasField("started_before")
        else None,
        oldest_first=request.reverse_order,
        after=unpack_marker(_EXECUTIONS, marker, tuple[int, str]) if marker else None,
    )
