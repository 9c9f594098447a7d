"""Large payloads, loaded from the store within the memory budget of their call."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from perdure_core.events import Event
from perdure_core.large_payloads import inline, reference_in, references_of
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.payload import StoredPayload
from perdure_gateway.admission.memory_budget import Reservation
from perdure_host.ports import ExecutionKey
from perdure_host.services import HistoryQueries, NumberedEvent


async def load_payloads(
    queries: HistoryQueries,
    key: ExecutionKey,
    references: Iterable[StoredPayload],
    reservation: Reservation,
) -> Mapping[StoredPayload, str]:
    """Return the texts of the references, within the memory budget.

    Raises ResourceExhausted, Unknown, StoreError.
    """
    distinct = list(dict.fromkeys(references))
    if not distinct:
        return {}
    reservation.reserve(sum(reference.size for reference in distinct))
    return await queries.texts(key, distinct)


async def inline_payloads(
    queries: HistoryQueries,
    key: ExecutionKey,
    events: Sequence[NumberedEvent],
    reservation: Reservation,
    *,
    bytes_max: int,
    payload_bytes_max: int = PAYLOAD_BYTES_MAX,
) -> list[NumberedEvent]:
    """Return the events that fit, with their payloads inlined; the first event always fits.

    Only payloads outside the record count. References to payloads above `payload_bytes_max` stay;
    errors are always inlined.
    """
    fitting: list[NumberedEvent] = []
    references: list[StoredPayload] = []
    for numbered in events:
        loaded = _references_within(numbered.event, payload_bytes_max)
        bytes_max -= sum(reference.size for reference in loaded)
        if loaded and bytes_max < 0 and fitting:
            break
        references += loaded
        fitting.append(numbered)
    texts = await load_payloads(queries, key, references, reservation)
    return [
        msgspec.structs.replace(each, event=inline(each.event, texts)) if texts else each
        for each in fitting
    ]


def _references_within(event: Event, payload_bytes_max: int) -> list[StoredPayload]:
    payload = reference_in(event)
    too_large = payload is not None and payload.size > payload_bytes_max
    return [each for each in references_of(event) if not (too_large and each is payload)]
