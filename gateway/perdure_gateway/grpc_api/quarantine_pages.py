"""Pages of what is quarantined, and of the rows of an execution as they are stored."""

from typing import Final

from perdure_core.limits import PAGE_BYTES_MAX
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import Reservation
from perdure_host.codec import timestamp_from_ms
from perdure_host.ports import StoredRow
from perdure_host.services import HistoryQueries
from perdure_host.tokens import pack_marker, unpack_marker
from perdure_proto.v1 import client_pb2

_QUARANTINED: Final = "quarantined"
_STORED_ROWS: Final = "stored rows"


async def quarantined_page(
    queries: HistoryQueries, request: client_pb2.ListQuarantinedRequest
) -> client_pb2.ListQuarantinedResponse:
    """Return one page of what is quarantined. Raises Invalid."""
    limit = validation.checked_page_items("max_items", request.max_items)
    after = None
    if request.marker:
        after = unpack_marker(_QUARANTINED, request.marker, tuple[int, str, str])
    found = await queries.quarantined_items(after=after, limit=limit + 1)
    marker = ""
    if len(found) > limit:
        last = found[limit - 1]
        marker = pack_marker(_QUARANTINED, (last.since_ms, last.kind, last.place))
    return client_pb2.ListQuarantinedResponse(
        items=[
            client_pb2.QuarantinedItem(
                kind=each.kind,
                place=each.place,
                reason=each.reason,
                quarantine_timestamp=timestamp_from_ms(each.since_ms),
                execution_arn=each.arn,
            )
            for each in found[:limit]
        ],
        next_marker=marker,
    )


async def stored_row_page(
    queries: HistoryQueries, request: client_pb2.ListStoredRowsRequest, reservation: Reservation
) -> client_pb2.ListStoredRowsResponse:
    """Return one page of the rows of an execution. Raises Invalid, Unknown, ResourceExhausted."""
    limit = validation.checked_page_items("max_items", request.max_items)
    skip = 0
    if request.marker:
        (skip,) = unpack_marker(_STORED_ROWS, request.marker, tuple[int])
    rows = await queries.stored_rows(
        request.execution_arn, skip=skip, limit=limit, bytes_max=PAGE_BYTES_MAX
    )
    answer = client_pb2.ListStoredRowsResponse(
        rows=[_row_to_message(row) for row in rows],
        next_marker=pack_marker(_STORED_ROWS, (skip + len(rows),)) if rows else "",
    )
    reservation.reserve(answer.ByteSize())
    return answer


def _row_to_message(row: StoredRow) -> client_pb2.StoredRow:
    return client_pb2.StoredRow(
        table=row.table,
        columns=[_column_to_message(name, value) for name, value in row.columns.items()],
    )


def _column_to_message(name: str, value: float | str | bytes | None) -> client_pb2.StoredColumn:
    match value:
        case None:
            return client_pb2.StoredColumn(name=name)
        case int():
            return client_pb2.StoredColumn(name=name, integer=value)
        case float():
            return client_pb2.StoredColumn(name=name, real=value)
        case bytes():
            return client_pb2.StoredColumn(name=name, raw=value)
        case str():
            try:
                return client_pb2.StoredColumn(name=name, text=value)
            except ValueError:
                # It is no text: these are the bytes that it was made of.
                raw = value.encode("utf-8", "surrogateescape")
                return client_pb2.StoredColumn(name=name, raw=raw)
