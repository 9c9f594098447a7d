"""In-memory store, for tests, simulations and `perdure.testing`.

It keeps every promise of the port except durability, and it never waits: between a call and its
result nothing else runs, so that a simulated loop decides the order of everything. Several services
may share one object, as several nodes share one database; closing it loses nothing.
"""

import heapq
import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from perdure_host.errors import Fenced, NodeTaken
from perdure_host.ports import (
    MOVED_ON,
    PAUSE_STATUSES,
    Alarm,
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionPage,
    ExecutionRow,
    FunctionRow,
    ListQuery,
    OutboxRow,
    PayloadRow,
    RecordRow,
    RefusedChange,
    StatusEventRow,
    StoredExecution,
    StoredRow,
    UnreadableRow,
    WaitingFor,
    page_of,
)

_Place = TypeVar("_Place")


class _Node(msgspec.Struct):
    """The node that joined last. Once dead, it stays until another one joins."""

    name: str
    address: str
    incarnation: int
    live: bool
    lease_until_ms: int


class MemoryStore:
    """The port `Store`, in dictionaries."""

    def __init__(self, *, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._node = _Node(name="", address="", incarnation=0, live=False, lease_until_ms=0)
        self._rows: dict[ExecutionKey, ExecutionRow] = {}
        self._keys: dict[ExecutionName, ExecutionKey] = {}
        self._records: dict[ExecutionKey, list[RecordRow]] = {}
        self._payloads: dict[ExecutionKey, dict[bytes, bytes]] = {}
        self._alarms: dict[ExecutionKey, int] = {}
        self._outbox: dict[tuple[int, str], OutboxRow] = {}
        self._status_events: dict[tuple[ExecutionKey, int], StatusEventRow] = {}
        # Executions whose row is gone, with records and payloads that are still there.
        self._deleted: set[ExecutionKey] = set()
        self._functions: dict[tuple[str, str], FunctionRow] = {}

    def watch_unreadable(self, notify: Callable[[UnreadableRow], None]) -> None:
        """Do nothing: rows are objects, and only what they hold as bytes can be unreadable."""

    async def open(self, *, migrate: bool = False) -> None:
        """Do nothing: there is no connection."""

    async def close(self) -> None:
        """Do nothing: others that share this store go on."""

    async def ping(self) -> None:
        """Do nothing: memory always answers."""

    def reconnect(self) -> None:
        """Do nothing: no call is ever in progress."""

    async def now_ms(self, own_ms: int) -> int:
        return own_ms

    async def secret(self) -> bytes:
        return self._secret

    async def join(
        self,
        node_name: str,
        address: str,
        *,
        now_ms: int,
        lease_ms: int,
        spare_expired: bool = False,
    ) -> int:
        node = self._node
        if node.lease_until_ms > now_ms + 2 * lease_ms:
            node.lease_until_ms = now_ms + lease_ms
        is_held = spare_expired or node.lease_until_ms > now_ms
        if node.live and node.name != node_name and is_held:
            raise NodeTaken(
                f"node {node.name!r} at {node.address} owns the buckets; its lease expires in"
                f" {node.lease_until_ms - now_ms} ms unless it renews",
                node.address,
            )
        self._node = _Node(
            name=node_name,
            address=address,
            incarnation=node.incarnation + 1,
            live=True,
            lease_until_ms=now_ms + lease_ms,
        )
        return self._node.incarnation

    async def renew(self, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
        self._require_live(incarnation)
        self._node.lease_until_ms = now_ms + lease_ms

    async def leave(self, incarnation: int) -> None:
        if self._node.incarnation == incarnation:
            self._node.live = False

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        self._require_live(incarnation)
        refused: list[RefusedChange] = []
        for change in changes:
            contradiction = self._contradiction(change)
            if contradiction is None:
                self._write(change)
            else:
                refused.append(RefusedChange(change.row.key, *contradiction))
        for row in outbox_done:
            self._outbox.pop(_place(row), None)
        for event in status_events_done:
            self._status_events.pop((event.key, event.event_id), None)
        return tuple(refused)

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        row = self._rows.get(key)
        return None if row is None else StoredExecution(row, tuple(self._records[key]))

    async def stored_rows(
        self, key: ExecutionKey, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        place: dict[str, Any] = {"bucket": key.bucket, "execution_id": key.execution_id}
        row, due_ms = self._rows.get(key), self._alarms.get(key)
        rows: list[StoredRow] = []
        if row is not None:
            rows.append(_stored("executions", place, row))
        rows += [_stored("events", place, each) for each in self._records.get(key, ())]
        bodies = sorted(self._payloads.get(key, {}).items())
        rows += [_stored("payloads", place, PayloadRow(*each)) for each in bodies]
        if due_ms is not None:
            rows.append(StoredRow("timers", {**place, "due_ms": due_ms}))
        sent = sorted(place for place, row in self._outbox.items() if row.sender == key)
        rows += [_stored("outbox", {}, self._outbox[each]) for each in sent]
        events = sorted(number for of, number in self._status_events if of == key)
        rows += [_stored("status_events", place, self._status_events[key, n]) for n in events]
        page: list[StoredRow] = []
        for each in rows[skip : skip + limit]:
            body = each.columns.get("body")
            bytes_max -= len(body) if isinstance(body, bytes) else 0
            if bytes_max < 0 and page:
                break
            page.append(each)
        return page

    async def load_many(
        self, keys: Sequence[ExecutionKey], *, records_max: int
    ) -> list[StoredExecution]:
        return [
            StoredExecution(self._rows[key], tuple(self._records[key]))
            for key in keys
            if key in self._rows and self._rows[key].sequence <= records_max
        ]

    async def load_payloads(
        self, key: ExecutionKey, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        bodies = self._payloads.get(key, {})
        return {digest: bodies[digest] for digest in digests if digest in bodies}

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        return {name: self._rows[self._keys[name]] for name in names if name in self._keys}

    async def get(self, key: ExecutionKey) -> ExecutionRow | None:
        return self._rows.get(key)

    async def read_records(
        self, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool = False
    ) -> list[RecordRow]:
        public = [record for record in self._records.get(key, ()) if record.event_count]
        if reverse:
            earlier = (r for r in reversed(public) if r.first_event_id <= from_event_id)
            return list(islice(earlier, limit))
        later = (r for r in public if r.first_event_id + r.event_count > from_event_id)
        return list(islice(later, limit))

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        rows = (row for row in self._rows.values() if _passes(row, query))
        pick = heapq.nsmallest if query.oldest_first else heapq.nlargest
        return page_of(pick(query.limit + 1, rows, key=attrgetter("position")), query.limit)

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        due = (Alarm(ms, key) for key, ms in self._alarms.items() if ms <= until_ms)
        return heapq.nsmallest(limit, (a for a in due if after is None or a > after))

    async def without_alarm(
        self, *, from_bucket: int, to_bucket: int, limit: int
    ) -> list[ExecutionKey]:
        keys = (
            key
            for key, row in self._rows.items()
            if from_bucket <= key.bucket < to_bucket
            and row.ended_ms is None
            and row.status not in PAUSE_STATUSES
            and key not in self._alarms
        )
        return heapq.nsmallest(limit, keys)

    async def waiting_for(
        self, waiting_for: WaitingFor, *, after: ExecutionKey | None, limit: int
    ) -> list[ExecutionRow]:
        rows = (row for row in self._rows.values() if row.waiting_for == waiting_for)
        later = (row for row in rows if after is None or row.key > after)
        return heapq.nsmallest(limit, later, key=lambda row: row.key)

    async def count_open(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for row in self._rows.values():
            if row.ended_ms is None:
                counts[row.function] = counts.get(row.function, 0) + 1
        return counts

    async def outbox(self, *, after: tuple[int, str] | None, limit: int) -> list[OutboxRow]:
        ids = (place for place in self._outbox if after is None or place > after)
        return [self._outbox[place] for place in heapq.nsmallest(limit, ids)]

    async def status_events(self, *, limit: int) -> list[StatusEventRow]:
        rows = self._status_events.values()
        return heapq.nsmallest(limit, rows, key=lambda row: (row.at_ms, row.key, row.event_id))

    async def count_status_events(self, *, limit: int) -> int:
        return min(limit, len(self._status_events))

    async def sweep(self, incarnation: int, *, now_ms: int, limit: int) -> int:
        self._require_live(incarnation)
        rows = self._rows.values()
        due = ((row.expires_ms, row.key) for row in rows if row.expires_ms is not None)
        swept = heapq.nsmallest(limit, (place for place in due if place[0] <= now_ms))
        for _, key in swept:
            self._delete(key)
        return len(swept)

    async def delete_remains(self, incarnation: int, *, limit: int) -> bool:
        self._require_live(incarnation)
        sending = {row.sender for row in self._outbox.values()}
        keys = sorted(key for key in self._deleted if key not in sending)
        for key in keys:
            payloads, records = self._payloads.get(key, {}), self._records.get(key, [])
            for digest in list(islice(payloads, limit)):
                del payloads[digest]
                limit -= 1
            limit -= len(taken := records[:limit])
            del records[: len(taken)]
            if limit <= 0:
                return True
            self._payloads.pop(key, None)
            self._records.pop(key, None)
            self._deleted.remove(key)
        return bool(keys)

    async def delete(
        self, incarnation: int, key: ExecutionKey, outbox: Sequence[OutboxRow] = ()
    ) -> None:
        self._require_live(incarnation)
        self._delete(key)
        for row in [row for row in self._outbox.values() if row.sender == key]:
            del self._outbox[_place(row)]
        self._outbox.update((_place(row), row) for row in outbox)

    async def put_functions(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        self._require_live(incarnation)
        self._functions.update(((f.namespace, f.name), f) for f in functions)

    async def functions(self) -> list[FunctionRow]:
        return [self._functions[place] for place in sorted(self._functions)]

    def _require_live(self, incarnation: int) -> None:
        node = self._node
        if node.incarnation != incarnation or not node.live:
            raise Fenced(f"incarnation {incarnation} is no longer live")

    def _contradiction(self, change: Change) -> tuple[str, str] | None:
        """Return the statement and the reason for which a change does not follow what is stored."""
        row = self._rows.get(change.row.key)
        holder = self._keys.get(_name(change.row))
        if change.new and (row is not None or holder not in (None, change.replaces)):
            return "NEW_EXECUTIONS", "the execution or its name exists already"
        last = 0 if row is None else row.sequence
        if change.row.sequence - len(change.records) != last or (row is None) != change.new:
            return "MOVED_EXECUTIONS", MOVED_ON
        written = {record.sequence for record in self._records.get(change.row.key, ())}
        if not written.isdisjoint(record.sequence for record in change.records):
            return "NEW_RECORDS", "a record of this number exists already"
        if _occupied(self._outbox, [_place(sent) for sent in change.outbox]):
            return "NEW_OUTBOX", "a delivery of this id exists already"
        events = [(event.key, event.event_id) for event in change.status_events]
        if _occupied(self._status_events, events):
            return "NEW_STATUS_EVENTS", "a status-change event of this number exists already"
        return None

    def _write(self, change: Change) -> None:
        row = change.row
        if change.replaces is not None:
            self._delete(change.replaces)
        assert change.new or _name(row) == _name(self._rows[row.key]), "a name never changes"
        self._rows[row.key] = row
        self._keys[_name(row)] = row.key
        self._records.setdefault(row.key, []).extend(change.records)
        for payload in change.payloads:
            self._payloads.setdefault(row.key, {}).setdefault(payload.digest, payload.body)
        self._outbox.update((_place(sent), sent) for sent in change.outbox)
        for done in change.outbox_done:
            self._outbox.pop(_place(done), None)
        self._status_events.update(((e.key, e.event_id), e) for e in change.status_events)
        if change.alarm_moved:
            self._alarms.pop(row.key, None)
            if change.alarm_ms is not None:
                self._alarms[row.key] = change.alarm_ms

    def _delete(self, key: ExecutionKey) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            del self._keys[_name(row)]
            self._alarms.pop(key, None)
            self._deleted.add(key)


def _stored(table: str, place: Mapping[str, Any], row: msgspec.Struct) -> StoredRow:
    """Return the columns that a database would hold of the row."""
    facts = {name: value for name, value in msgspec.structs.asdict(row).items() if name != "key"}
    return StoredRow(table, {**place, **facts})


def _name(row: ExecutionRow) -> ExecutionName:
    return ExecutionName(row.key.bucket, row.namespace, row.function, row.name)


def _place(row: OutboxRow) -> tuple[int, str]:
    return (row.bucket, row.outbox_id)


def _occupied(rows: Mapping[_Place, object], places: Sequence[_Place]) -> bool:
    """Return whether any of these places is taken, by a row or by another of them."""
    return len(set(places)) < len(places) or any(place in rows for place in places)


def _passes(row: ExecutionRow, query: ListQuery) -> bool:
    return (
        (query.above is None or row.position > query.above)
        and (query.below is None or row.position < query.below)
        and row.namespace == query.namespace
        and query.function in ("", row.function)
        and query.name in ("", row.name)
        and row.name.startswith(query.name_prefix)
        and (not query.statuses or row.status in query.statuses)
    )
