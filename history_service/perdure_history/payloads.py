"""Large payloads, read from a bounded cache of texts or else from the database.

States hold references only, so that a cached execution is small whatever its steps returned. A text
under its digest never changes: an entry of the cache can be superfluous, but not wrong.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from perdure_core.large_payloads import ExternalPayloads
from perdure_core.payload import StoredPayload, stored
from perdure_core.refusals import Quarantined, Unknown
from perdure_host.errors import Unreadable
from perdure_host.ports import ExecutionKey, PayloadRow, Store

# Larger payloads are not cached: a few of them would evict all others.
CACHED_BYTES_MAX: Final = 1_024 * 1_024

# Longer texts are hashed in a thread: on the event loop they would block every other call.
HASHED_CHARS_MAX: Final = 1_024 * 1_024

_CacheKey = tuple[ExecutionKey, bytes]


async def hashed(texts: Iterable[str | None]) -> ExternalPayloads:
    """Return an `ExternalPayloads` in which the texts that take long to hash are prepared."""
    external = ExternalPayloads()
    for text in texts:
        if text is not None and len(text) > HASHED_CHARS_MAX:
            await asyncio.to_thread(external.prepare, text)
    return external


class Payloads:
    """Cache of the texts that states refer to."""

    def __init__(
        self,
        store: Store,
        bytes_max: int,
        set_aside: Callable[[ExecutionKey, str], Quarantined],
    ) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._set_aside = set_aside
        self._bodies: OrderedDict[_CacheKey, bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many bytes are cached."""
        return self._bytes

    def remember(self, key: ExecutionKey, rows: Iterable[PayloadRow]) -> None:
        """Cache payloads that are being written, since the next replay will read them."""
        for row in rows:
            self._add((key, row.digest), row.body)

    async def texts(
        self, key: ExecutionKey, references: Iterable[StoredPayload]
    ) -> Mapping[StoredPayload, str]:
        """Return the text of every reference.

        Raises Unknown when the execution was swept meanwhile, Quarantined, StoreUnavailable.
        """
        bodies: dict[bytes, bytes] = {}
        distinct = dict.fromkeys(references)
        for reference in distinct:
            body = self._bodies.get((key, reference.digest))
            if body is not None:
                self._bodies.move_to_end((key, reference.digest))
                bodies[reference.digest] = body
        absent = [each.digest for each in distinct if each.digest not in bodies]
        if absent:
            read = await self._store.load_payloads(key, absent)
            if len(read) < len(absent):
                await self._raise_absent(key)
            await self._check(key, read)
            self.remember(key, [PayloadRow(digest, body) for digest, body in read.items()])
            bodies |= read
        return {reference: bodies[reference.digest].decode() for reference in distinct}

    async def _raise_absent(self, key: ExecutionKey) -> None:
        with contextlib.suppress(Unreadable):
            if await self._store.get(key) is None:
                raise Unknown(f"no execution {key.execution_id}: it is past its retention")
        raise self._set_aside(key, "a payload of it is missing")

    async def _check(self, key: ExecutionKey, bodies: Mapping[bytes, bytes]) -> None:
        """Raise Quarantined for a payload that is not the one which was stored."""
        for digest, body in bodies.items():
            if type(body) is not bytes:
                made = None
            elif len(body) > HASHED_CHARS_MAX:
                made = (await asyncio.to_thread(stored, body)).digest
            else:
                made = stored(body).digest
            if made != digest:
                raise self._set_aside(key, "a payload of it is damaged")

    def _add(self, cache_key: _CacheKey, body: bytes) -> None:
        if len(body) > CACHED_BYTES_MAX or cache_key in self._bodies:
            return
        self._bodies[cache_key] = body
        self._bytes += len(body)
        while self._bytes > self._bytes_max:
            _, oldest = self._bodies.popitem(last=False)
            self._bytes -= len(oldest)
