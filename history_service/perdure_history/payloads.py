"""Large payloads as history reads them: from a bounded memory of texts, else from the database.

States hold references only, so that a cached execution is small whatever its steps returned. A text
under its digest never changes; what is remembered here cannot be wrong, only no longer wanted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from perdure_core.large_payloads import ExternalPayloads
from perdure_core.payload import StoredPayload
from perdure_core.refusals import Unknown
from perdure_host.ports import ExecutionKey, PayloadRow, Store

# What is larger is read each time: few of them would drive out all others.
REMEMBERED_BYTES_MAX: Final = 1_024 * 1_024

# What is larger is hashed in a thread: by the loop it would keep everybody waiting.
HASHED_CHARS_MAX: Final = 1_024 * 1_024

_Place = tuple[ExecutionKey, bytes]


async def hashed(texts: Iterable[str | None]) -> ExternalPayloads:
    """Return what knows the references to those of the texts that take long to hash."""
    kept = ExternalPayloads()
    for text in texts:
        if text is not None and len(text) > HASHED_CHARS_MAX:
            await asyncio.to_thread(kept.prepare, text)
    return kept


class Payloads:
    """The texts that states refer to."""

    def __init__(self, store: Store, bytes_max: int) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._bodies: OrderedDict[_Place, bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many bytes are remembered."""
        return self._bytes

    def remember(self, key: ExecutionKey, rows: Iterable[PayloadRow]) -> None:
        """Take note of what is being written, since the next replay will ask for it."""
        for row in rows:
            self._add((key, row.digest), row.body)

    async def texts(
        self, key: ExecutionKey, references: Iterable[StoredPayload]
    ) -> Mapping[StoredPayload, str]:
        """Return the text of every reference.

        Raises Unknown when the execution was swept meanwhile, StoreUnavailable.
        """
        bodies: dict[bytes, bytes] = {}
        wanted = dict.fromkeys(references)
        for reference in wanted:
            body = self._bodies.get((key, reference.digest))
            if body is not None:
                self._bodies.move_to_end((key, reference.digest))
                bodies[reference.digest] = body
        absent = [each.digest for each in wanted if each.digest not in bodies]
        if absent:
            read = await self._store.load_payloads(key, absent)
            if len(read) < len(absent):
                raise Unknown(f"no execution {key.execution_id}: it is past its retention")
            self.remember(key, [PayloadRow(digest, body) for digest, body in read.items()])
            bodies |= read
        return {reference: bodies[reference.digest].decode() for reference in wanted}

    def _add(self, place: _Place, body: bytes) -> None:
        if len(body) > REMEMBERED_BYTES_MAX or place in self._bodies:
            return
        self._bodies[place] = body
        self._bytes += len(body)
        while self._bytes > self._bytes_max:
            _, oldest = self._bodies.popitem(last=False)
            self._bytes -= len(oldest)
