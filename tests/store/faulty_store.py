"""A wrapper that makes a store fail on purpose.

It plays what networks and disks do to a writer: the database is away, or the answer to a commit is
lost, after it was written or before. What goes wrong is written down in advance (a script) or drawn
by dice that the caller seeds, so that every run can be repeated.
"""

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from perdure_host.errors import CommitUnknown, Fenced, StoreUnavailable
from perdure_host.ports import (
    Alarm,
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionPage,
    ExecutionRow,
    FunctionRow,
    ListQuery,
    OutboxRow,
    RecordRow,
    RefusedChange,
    StatusEventRow,
    Store,
    StoredExecution,
    StoredRow,
    UnreadableRow,
    WaitingFor,
)

# What becomes of one commit: written and acknowledged; refused with nothing written; or of unknown
# outcome to the caller: written already, never to be written, or still under way and written only
# when another node joins, which must wait for it. A node that reloads before it joins misses it.
Fate = Literal["written", "refused", "unknown_written", "unknown_lost", "unknown_late"]

# The arguments of one commit.
_Commit = tuple[int, Sequence[Change], Sequence[OutboxRow], Sequence[StatusEventRow]]

_FAILURES: Final[tuple[Fate, ...]] = ("refused", "unknown_written", "unknown_lost", "unknown_late")


class FaultyStore:
    """The port `Store`; hands everything on, but for what is to fail."""

    def __init__(self, inner: Store, fates: Iterable[Fate] = ()) -> None:
        """Set the fates of the next commits, one each; all later ones succeed."""
        self.inner = inner
        # While set, the database is away: every call is refused.
        self.away = False
        self._fates = deque(fates)
        self._dice: random.Random | None = None
        self._share = 0.0
        self._late: list[_Commit] = []

    def script(self, *fates: Fate) -> None:
        """Add fates for the commits that come after those already scripted."""
        self._fates.extend(fates)

    def roll(self, dice: random.Random | None, share: float = 0.0) -> None:
        """Make this share of the commits that are not scripted fail; None: no longer."""
        self._dice, self._share = dice, share

    def watch_unreadable(self, notify: Callable[[UnreadableRow], None]) -> None:
        self.inner.watch_unreadable(notify)

    async def open(self, *, migrate: bool = False) -> None:
        self._require_present()
        await self.inner.open(migrate=migrate)

    async def close(self) -> None:
        await self.inner.close()

    async def secret(self) -> bytes:
        self._require_present()
        return await self.inner.secret()

    async def now_ms(self, own_ms: int) -> int:
        self._require_present()
        return await self.inner.now_ms(own_ms)

    async def ping(self) -> None:
        self._require_present()
        await self.inner.ping()

    def reconnect(self) -> None:
        self.inner.reconnect()

    async def join(
        self,
        node_name: str,
        address: str,
        *,
        now_ms: int,
        lease_ms: int,
        spare_expired: bool = False,
    ) -> int:
        self._require_present()
        await self._finish_late_commits()
        return await self.inner.join(
            node_name, address, now_ms=now_ms, lease_ms=lease_ms, spare_expired=spare_expired
        )

    async def renew(self, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
        self._require_present()
        await self.inner.renew(incarnation, now_ms=now_ms, lease_ms=lease_ms)

    async def leave(self, incarnation: int) -> None:
        self._require_present()
        await self.inner.leave(incarnation)

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        self._require_present()
        fate = self._next_fate()
        if fate == "refused":
            raise StoreUnavailable("this commit was refused on purpose")
        if fate == "unknown_late":
            self._late.append((incarnation, changes, outbox_done, status_events_done))
        refused: tuple[RefusedChange, ...] = ()
        if fate in ("written", "unknown_written"):
            refused = await self.inner.commit(incarnation, changes, outbox_done, status_events_done)
        if fate != "written":
            raise CommitUnknown("the answer to this commit was lost on purpose")
        return refused

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        self._require_present()
        return await self.inner.load(key)

    async def stored_rows(
        self, key: ExecutionKey, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        self._require_present()
        return await self.inner.stored_rows(key, skip=skip, limit=limit, bytes_max=bytes_max)

    async def load_many(
        self, keys: Sequence[ExecutionKey], *, records_max: int
    ) -> list[StoredExecution]:
        self._require_present()
        return await self.inner.load_many(keys, records_max=records_max)

    async def load_payloads(
        self, key: ExecutionKey, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        self._require_present()
        return await self.inner.load_payloads(key, digests)

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        self._require_present()
        return await self.inner.find_many(names)

    async def get(self, key: ExecutionKey) -> ExecutionRow | None:
        self._require_present()
        return await self.inner.get(key)

    async def read_records(
        self, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool = False
    ) -> list[RecordRow]:
        self._require_present()
        return await self.inner.read_records(
            key, from_event_id=from_event_id, limit=limit, reverse=reverse
        )

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        self._require_present()
        return await self.inner.list_executions(query)

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        self._require_present()
        return await self.inner.alarms(until_ms=until_ms, after=after, limit=limit)

    async def without_alarm(
        self, *, from_bucket: int, to_bucket: int, limit: int
    ) -> list[ExecutionKey]:
        self._require_present()
        return await self.inner.without_alarm(
            from_bucket=from_bucket, to_bucket=to_bucket, limit=limit
        )

    async def waiting_for(
        self, waiting_for: WaitingFor, *, after: ExecutionKey | None, limit: int
    ) -> list[ExecutionRow]:
        self._require_present()
        return await self.inner.waiting_for(waiting_for, after=after, limit=limit)

    async def count_open(self) -> dict[str, int]:
        self._require_present()
        return await self.inner.count_open()

    async def outbox(self, *, after: tuple[int, str] | None, limit: int) -> list[OutboxRow]:
        self._require_present()
        return await self.inner.outbox(after=after, limit=limit)

    async def status_events(self, *, limit: int) -> list[StatusEventRow]:
        self._require_present()
        return await self.inner.status_events(limit=limit)

    async def count_status_events(self, *, limit: int) -> int:
        self._require_present()
        return await self.inner.count_status_events(limit=limit)

    async def delete_remains(self, incarnation: int, *, limit: int) -> bool:
        self._require_present()
        return await self.inner.delete_remains(incarnation, limit=limit)

    async def sweep(self, incarnation: int, *, now_ms: int, limit: int) -> int:
        self._require_present()
        return await self.inner.sweep(incarnation, now_ms=now_ms, limit=limit)

    async def delete(
        self, incarnation: int, key: ExecutionKey, outbox: Sequence[OutboxRow] = ()
    ) -> None:
        self._require_present()
        await self.inner.delete(incarnation, key, outbox)

    async def put_functions(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        self._require_present()
        await self.inner.put_functions(incarnation, functions)

    async def functions(self) -> list[FunctionRow]:
        self._require_present()
        return await self.inner.functions()

    def _require_present(self) -> None:
        if self.away:
            raise StoreUnavailable("the database is away on purpose")

    async def _finish_late_commits(self) -> None:
        late, self._late = self._late, []
        for commit in late:
            with contextlib.suppress(Fenced):
                await self.inner.commit(*commit)

    def _next_fate(self) -> Fate:
        if self._fates:
            return self._fates.popleft()
        if self._dice is None or self._dice.random() >= self._share:
            return "written"
        return self._dice.choice(_FAILURES)
