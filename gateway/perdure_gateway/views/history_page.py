"""One page of an execution's history, with the position of the next, for both APIs.

A page ends at the requested number of events or, because a payload may have 64 MiB, once it has
grown large. A marker holds where the page ended, but no filters: the caller repeats them.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from perdure_core.limits import EVENT_ID_MAX, PAGE_BYTES_MAX
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.views.payloads import inline_payloads
from perdure_host.services import HistoryQueries, NumberedEvent, key_of
from perdure_host.tokens import pack_marker, unpack_marker

# Events are fetched in portions, so that a page of large ones does not fill the memory.
PORTION_ITEMS_MAX: Final = 100

_Rendered = TypeVar("_Rendered")


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a history that a caller requests."""

    arn: str
    # The kind of the marker: it names the API and the direction.
    kind: str
    marker: str | None
    limit: int
    reverse: bool
    # Payloads up to this size are loaded into the events; None leaves all of them out.
    payload_bytes_max: int | None


class Page(msgspec.Struct, Generic[_Rendered], frozen=True):
    """The events as the API renders them; `next_marker` is None on the last page."""

    events: list[_Rendered]
    next_marker: str | None


async def read_page(
    queries: HistoryQueries,
    request: PageRequest,
    reservation: Reservation,
    *,
    render: Callable[[NumberedEvent], _Rendered],
    size_of: Callable[[_Rendered], int],
) -> Page[_Rendered]:
    """Return one page of a history. Raises Invalid, Unknown, ResourceExhausted, StoreError."""
    position = _position(request)
    events: list[_Rendered] = []
    page_bytes = 0
    while len(events) < request.limit and page_bytes < PAGE_BYTES_MAX:
        count = min(PORTION_ITEMS_MAX, request.limit - len(events))
        portion = await queries.page(
            request.arn, after_event_id=position, limit=count + 1, reverse=request.reverse
        )
        added = 0
        bytes_max = PAGE_BYTES_MAX - page_bytes
        for numbered in await _loaded(queries, request, portion[:count], reservation, bytes_max):
            event = render(numbered)
            size = size_of(event)
            if events and page_bytes + size > 2 * PAGE_BYTES_MAX:
                # It gets a page of its own.
                break
            events.append(event)
            position = numbered.event_id
            page_bytes += size
            added += 1
            if page_bytes >= PAGE_BYTES_MAX:
                break
        if added == len(portion):
            return Page(events, None)
        if added < count:
            break
    return Page(events, pack_marker(request.kind, (position,)))


async def _loaded(
    queries: HistoryQueries,
    request: PageRequest,
    events: list[NumberedEvent],
    reservation: Reservation,
    bytes_max: int,
) -> list[NumberedEvent]:
    if request.payload_bytes_max is None:
        return events
    return await inline_payloads(
        queries,
        key_of(request.arn),
        events,
        reservation,
        bytes_max=bytes_max,
        payload_bytes_max=request.payload_bytes_max,
    )


def _position(request: PageRequest) -> int:
    if not request.marker:
        return 0
    (position,) = unpack_marker(request.kind, request.marker, tuple[int])
    validation.check_range("the event in the marker", position, 1, EVENT_ID_MAX)
    return position
