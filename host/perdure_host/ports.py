"""Ports of the services to the outside: the store, the clock, the status-event sink.

One test suite holds every store to this contract: in memory, SQLite and PostgreSQL.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from perdure_core.identity import ExecutionIdentity

# Where an execution stands in lists: (started_ms, execution_id).
ListPosition = tuple[int, str]

# The reason for which a change is refused that does not follow the last record.
MOVED_ON: Final = "the execution does not exist, or has moved on from the record before"

# Of executions whose timeout may stand still, so that they need no alarm.
PAUSE_STATUSES: Final = ("PAUSING", "PAUSED")

UnreadableKind = Literal["execution", "alarm", "outbox", "status_event", "function"]

WaitingFor = Literal["task", "timer", "callback", "child", "pause", "diverged", "nothing", "ended"]


class ExecutionKey(msgspec.Struct, frozen=True, order=True):
    """Primary key of an execution. The id is 32 hexadecimal characters."""

    bucket: int
    execution_id: str


class ExecutionName(msgspec.Struct, frozen=True):
    """Name of an execution, and the bucket that follows from it. Unique."""

    bucket: int
    namespace: str
    function: str
    name: str


class ExecutionRow(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of an execution, available without reading its history."""

    key: ExecutionKey
    namespace: str
    function: str
    name: str
    status: str
    started_ms: int
    input_digest: bytes
    # The number of the last record, and of public events so far.
    sequence: int
    event_count: int
    # What the execution waits for. `task`: for a worker, or it may be running in one.
    waiting_for: WaitingFor
    ended_ms: int | None = None
    # When retention may sweep it; set once the execution has ended.
    expires_ms: int | None = None

    @property
    def identity(self) -> ExecutionIdentity:
        """Return the parts of the ARN."""
        return ExecutionIdentity(self.namespace, self.function, self.name, self.key.execution_id)

    @property
    def position(self) -> ListPosition:
        """Return where it stands in lists."""
        return (self.started_ms, self.key.execution_id)


class RecordRow(msgspec.Struct, frozen=True):
    """One decision's events, encoded. Public events are numbered from `first_event_id` on."""

    sequence: int
    first_event_id: int
    event_count: int
    body: bytes


class PayloadRow(msgspec.Struct, frozen=True):
    """A large text, in UTF-8, that records of its execution refer to by digest."""

    digest: bytes
    body: bytes


class OutboxRow(msgspec.Struct, frozen=True):
    """A message to deliver after the commit, at least once. The id is unique in its bucket.

    It begins with the id of the sending execution and a hyphen. While the row exists, the payloads
    of that execution stay, even if it is deleted, because they may be part of the message.
    """

    bucket: int
    outbox_id: str
    body: bytes

    @property
    def sender(self) -> ExecutionKey:
        """Return the key of the sending execution."""
        return ExecutionKey(self.bucket, self.outbox_id.partition("-")[0])


class StatusEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an execution's status that must be delivered to a sink.

    `event_id` is the number of the public event that made the change; with the key it is unique.
    The row is self-contained: it outlives the execution and delays no sweep. `at_ms` orders rows;
    for one execution it never decreases.
    """

    key: ExecutionKey
    event_id: int
    at_ms: int
    namespace: str
    function: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None = None

    @property
    def identity(self) -> ExecutionIdentity:
        """Return the parts of the ARN."""
        return ExecutionIdentity(self.namespace, self.function, self.name, self.key.execution_id)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one commit does to one execution; a commit has at most one change for each.

    `new` inserts the row, otherwise it is replaced. `records` are appended: they must follow the
    last record that is stored, and end at the row's number. `alarm_ms` replaces the execution's one
    alarm (None: no alarm) if `alarm_moved`. `payloads` are added; those that exist already are left
    as they are. `outbox_done` are deliveries that this change has completed, whose rows go.
    `replaces` is the execution whose name a new one takes over; it is deleted first, as by
    `Store.sweep`, if it still exists.
    """

    row: ExecutionRow
    new: bool
    records: tuple[RecordRow, ...]
    payloads: tuple[PayloadRow, ...] = ()
    alarm_moved: bool = False
    alarm_ms: int | None = None
    outbox: tuple[OutboxRow, ...] = ()
    outbox_done: tuple[OutboxRow, ...] = ()
    status_events: tuple[StatusEventRow, ...] = ()
    replaces: ExecutionKey | None = None


class RefusedChange(msgspec.Struct, frozen=True):
    """A change of which a commit has written nothing, because it contradicts what is stored.

    `statement` names what the database refused; `reason` is what it said.
    """

    key: ExecutionKey
    statement: str
    reason: str


class StoredExecution(msgspec.Struct, frozen=True):
    """An execution as loaded: its row and every record, in order."""

    row: ExecutionRow
    records: tuple[RecordRow, ...]


class StoredRow(msgspec.Struct, frozen=True):
    """A row as the database holds it, whatever that is. Text that is none has surrogates."""

    table: str
    columns: dict[str, int | float | str | bytes | None]


class Alarm(msgspec.Struct, frozen=True, order=True):
    """The time at which an execution must be woken."""

    due_ms: int
    key: ExecutionKey


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters, joined by AND; empty ones match everything. At most one of the names is set.

    Newest first unless `oldest_first`. Both bounds of the start are exclusive.

    `after` is where the page before ended.
    """

    namespace: str
    limit: int
    function: str = ""
    name: str = ""
    name_prefix: str = ""
    statuses: tuple[str, ...] = ()
    started_after_ms: int | None = None
    started_before_ms: int | None = None
    oldest_first: bool = False
    after: ListPosition | None = None

    @property
    def above(self) -> ListPosition | None:
        """Return the position that every row lies above, of those that the query implies."""
        bounds = [] if self.started_after_ms is None else [(self.started_after_ms + 1, "")]
        if self.after is not None and self.oldest_first:
            bounds.append(self.after)
        return max(bounds, default=None)

    @property
    def below(self) -> ListPosition | None:
        """Return the position that every row lies below, of those that the query implies."""
        bounds = [] if self.started_before_ms is None else [(self.started_before_ms, "")]
        if self.after is not None and not self.oldest_first:
            bounds.append(self.after)
        return min(bounds, default=None)


class ExecutionPage(msgspec.Struct, frozen=True):
    """One page of a list, and where it ended: `after` of the next query, or None at the end."""

    rows: tuple[ExecutionRow, ...]
    after: ListPosition | None


def page_of(rows: Sequence[ExecutionRow], limit: int) -> ExecutionPage:
    """Return a page of the first `limit` rows; more of them tell that it is not the last."""
    after = rows[limit - 1].position if len(rows) > limit else None
    return ExecutionPage(tuple(rows[:limit]), after)


class FunctionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A function that a worker has registered. Timeouts in seconds, retention in days."""

    namespace: str
    name: str
    execution_timeout_s: int
    retention_days: int
    durable: bool
    # Each execution belongs to the tenant that its start names.
    tenant_isolation: bool = False


class UnreadableRow(msgspec.Struct, frozen=True):
    """A row that was left out of an answer, because its columns hold what was never written.

    `place` is its key in words; `key` is set for an execution whose key itself is readable.
    """

    kind: UnreadableKind
    place: str
    reason: str
    key: ExecutionKey | None = None


class Store(Protocol):
    """The durable store of executions. Every method may raise StoreUnavailable.

    Writing methods take the incarnation that they write under and raise Fenced once it is no
    longer live. Methods that read one execution raise Unreadable for damaged rows; those that read
    pages leave such rows out, and report them.
    """

    def watch_unreadable(self, notify: Callable[[UnreadableRow], None]) -> None:
        """Call this for each row that an answer leaves out, each time."""
        ...

    async def open(self, *, migrate: bool = False) -> None:
        """Connect and check the schema; create it in an empty database.

        Raises SchemaTooNew, or SchemaTooOld unless `migrate`.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...

    async def ping(self) -> None:
        """Return if the database answers within seconds. Raises StoreUnavailable."""
        ...

    def reconnect(self) -> None:
        """Make every call in progress fail at once; the next one connects again."""
        ...

    async def now_ms(self, own_ms: int) -> int:
        """Return the time by the database's clock; without one, `own_ms`. Leases are in it."""
        ...

    async def secret(self) -> bytes:
        """Return the cluster's 32 secret bytes, created on first use.

        They sign tokens and callback ids.
        """
        ...

    async def join(
        self,
        node_name: str,
        address: str,
        *,
        now_ms: int,
        lease_ms: int,
        spare_expired: bool = False,
    ) -> int:
        """Become the only live node and owner of all buckets; return a new incarnation.

        It is higher than all before. A node of the same name is replaced at once: its row is marked
        dead first, which waits for its commits in flight. Raises NodeTaken if a node of another
        name is live and its lease has not expired; one whose lease has expired is marked dead and
        replaced, unless `spare_expired`: then no live node of another name is. A lease that ends
        after twice `lease_ms` was written before the clock was set back: it ends after `lease_ms`.
        """
        ...

    async def renew(self, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
        """Extend the lease until now + lease."""
        ...

    async def leave(self, incarnation: int) -> None:
        """Mark the node as gone, so that another may take over without waiting.

        Does nothing if fenced.
        """
        ...

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        """Write everything in one transaction with full durability, or nothing.

        A change that contradicts what is stored is left out whole, and returned; all others are
        written. That is a bug or a damaged database, since only the live node writes.
        Rows that are done are deleted; those that no longer exist are ignored.
        Raises Fenced, StoreUnavailable (nothing was written) or CommitUnknown (it may have been).
        """
        ...

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        """Return the execution with all its records."""
        ...

    async def stored_rows(
        self, key: ExecutionKey, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        """Return rows of an execution as they are stored, table by table, after the first `skip`.

        At most `limit`, in about `bytes_max` bytes, and at least one unless there are no more.
        """
        ...

    async def load_many(
        self, keys: Sequence[ExecutionKey], *, records_max: int
    ) -> list[StoredExecution]:
        """Return those of the executions that exist and have at most so many records, whole."""
        ...

    async def load_payloads(
        self, key: ExecutionKey, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        """Return those of the execution's payloads that exist, by digest."""
        ...

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        """Return the executions that have one of these names, each as of some commit."""
        ...

    async def get(self, key: ExecutionKey) -> ExecutionRow | None:
        """Return the row without its records."""
        ...

    async def read_records(
        self, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool = False
    ) -> list[RecordRow]:
        """Return records that contain public events, at most `limit` of them.

        Forward: in order, from the one that contains `from_event_id` on. Reverse: backwards
        from that one.
        """
        ...

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        """Return one page, ordered by (started_ms, execution_id).

        It has at most `limit` rows. A page of a query with a name may have fewer, even none, and
        yet not be the last.
        """
        ...

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        """Return alarms due at or before `until_ms`, in order, after `after`."""
        ...

    async def without_alarm(
        self, *, from_bucket: int, to_bucket: int, limit: int
    ) -> list[ExecutionKey]:
        """Return executions from these buckets, `to_bucket` excluded, that have lost their alarm.

        They run, are not paused, and have none, or one that holds no time.
        """
        ...

    async def waiting_for(
        self, waiting_for: WaitingFor, *, after: ExecutionKey | None, limit: int
    ) -> list[ExecutionRow]:
        """Return executions with this `waiting_for`, ordered by key."""
        ...

    async def count_open(self) -> dict[str, int]:
        """Return the number of executions that have not ended, by function."""
        ...

    async def outbox(self, *, after: tuple[int, str] | None, limit: int) -> list[OutboxRow]:
        """Return undelivered rows, ordered by (bucket, outbox_id)."""
        ...

    async def status_events(self, *, limit: int) -> list[StatusEventRow]:
        """Return the oldest undelivered rows, ordered by (at_ms, key, event_id)."""
        ...

    async def count_status_events(self, *, limit: int) -> int:
        """Return the number of undelivered rows, at most `limit`."""
        ...

    async def sweep(self, incarnation: int, *, now_ms: int, limit: int) -> int:
        """Delete up to `limit` expired executions (`expires_ms`); return how many were deleted.

        From now on they cannot be found and their names are free, but their records and payloads
        are left for `delete_remains`.
        """
        ...

    async def delete_remains(self, incarnation: int, *, limit: int) -> bool:
        """Delete up to `limit` records and payloads of deleted executions; return whether any.

        Those of an execution that still has a row in the outbox are left for later.
        """
        ...

    async def delete(
        self, incarnation: int, key: ExecutionKey, outbox: Sequence[OutboxRow] = ()
    ) -> None:
        """Delete an execution whatever its rows hold, with everything that it owns.

        Its undelivered messages go too, and `outbox` is sent; its status-change events stay.
        """
        ...

    async def put_functions(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        """Insert or replace the rows of functions."""
        ...

    async def functions(self) -> list[FunctionRow]:
        """Return every registered function, ordered by namespace and name."""
        ...


class StatusEvent(msgspec.Struct, frozen=True):
    """A status-change event as every sink receives it.

    `body` is a JSON object in one line of UTF-8; it contains `id`, which is the same however often
    the event is delivered.
    """

    id: str
    body: bytes


class StatusSink(Protocol):
    """Receives status-change events in order, each at least once."""

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        """Return once all of them are durable. Raises SinkError; then all are delivered again."""
        ...


class Clock(Protocol):
    """Time in milliseconds since 1970 in UTC, and waiting.

    Times of one clock can be compared with each other, and with those in the database.
    """

    def now_ms(self) -> int:
        """Return the current time.

        Within a process it passes evenly: when the machine's clock is set, this one is not.
        """
        ...

    async def wait_until(self, due_ms: int) -> None:
        """Return once `now_ms() >= due_ms`; never before."""
        ...
