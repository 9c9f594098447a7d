"""The contract between the services and the world: what a store is, and what a clock is.

One suite of tests holds every store to this page: in memory, SQLite and PostgreSQL.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from perdure_core.identity import ExecutionIdentity

WaitingFor = Literal["task", "timer", "callback", "child", "pause", "diverged", "nothing", "ended"]


class ExecutionKey(msgspec.Struct, frozen=True, order=True):
    """Where an execution lives. The id is 32 hexadecimal characters."""

    bucket: int
    execution_id: str


class ExecutionName(msgspec.Struct, frozen=True):
    """What an execution is called, and the bucket that follows from it. Unique."""

    bucket: int
    namespace: str
    function: str
    name: str


class ExecutionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an execution without reading its history."""

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
    # What will move it on. `task` means that it wants a worker, or may be running in one.
    waiting_for: WaitingFor
    ended_ms: int | None = None
    # When retention may sweep it; set once ended.
    expires_ms: int | None = None

    @property
    def identity(self) -> ExecutionIdentity:
        """Return all that the ARN says."""
        return ExecutionIdentity(self.namespace, self.function, self.name, self.key.execution_id)


class RecordRow(msgspec.Struct, frozen=True):
    """One decision's events, encoded. Public events are numbered from `first_event_id` on."""

    sequence: int
    first_event_id: int
    event_count: int
    body: bytes


class PayloadRow(msgspec.Struct, frozen=True):
    """A large text that records of its execution name by digest, in UTF-8."""

    digest: bytes
    body: bytes


class OutboxRow(msgspec.Struct, frozen=True):
    """Something to deliver after the commit, at least once. The id is unique in its bucket.

    It begins with the id of the execution that sends it and a hyphen. While it is there, that
    execution is not swept, since its payloads may be part of what is delivered.
    """

    bucket: int
    outbox_id: str
    body: bytes

    @property
    def sender(self) -> ExecutionKey:
        """Return the execution that sends it."""
        return ExecutionKey(self.bucket, self.outbox_id.partition("-")[0])


class StatusEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an execution's status that a sink has to be told, with all that it is told.

    `event_id` is the number of the public event that made it so; with the key it is unique. The row
    stands by itself: it outlives the execution, and holds up no sweep. `at_ms` orders rows; for one
    execution, no row has a lower one than a row before it.
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
        """Return all that the ARN says."""
        return ExecutionIdentity(self.namespace, self.function, self.name, self.key.execution_id)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All that one commit does to one execution; a commit holds at most one change for each.

    `new` inserts the row, otherwise it is replaced. `records` are appended: a sequence that
    exists already means that somebody else wrote, and fails the commit as Fenced. `alarm_ms`
    replaces the execution's one alarm (None: no alarm) when `alarm_moved`. `payloads` are added;
    one that the execution has already is left as it is.
    """

    row: ExecutionRow
    new: bool
    records: tuple[RecordRow, ...]
    payloads: tuple[PayloadRow, ...] = ()
    alarm_moved: bool = False
    alarm_ms: int | None = None
    outbox: tuple[OutboxRow, ...] = ()
    status_events: tuple[StatusEventRow, ...] = ()


class StoredExecution(msgspec.Struct, frozen=True):
    """An execution as loaded: its row and every record, in order."""

    row: ExecutionRow
    records: tuple[RecordRow, ...]


class Alarm(msgspec.Struct, frozen=True, order=True):
    """When an execution has to be looked at."""

    due_ms: int
    key: ExecutionKey


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters, joined by AND; empty ones let everything pass.

    Newest first unless `oldest_first`. Both bounds of the start are exclusive.

    `after` is the (started_ms, execution_id) of the last row of the page before.
    """

    namespace: str
    limit: int
    function: str = ""
    name: str = ""
    statuses: tuple[str, ...] = ()
    started_after_ms: int | None = None
    started_before_ms: int | None = None
    oldest_first: bool = False
    after: tuple[int, str] | None = None


class FunctionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A function that some worker has announced. Timeouts in seconds, retention in days."""

    namespace: str
    name: str
    execution_timeout_s: int
    retention_days: int
    durable: bool
    # Each execution belongs to the tenant that its start names.
    tenant_isolation: bool = False


class Store(Protocol):
    """Where the truth is kept. Every method may raise StoreUnavailable.

    Writing methods name the incarnation that they write under and raise Fenced once it is no
    longer live.
    """

    async def open(self, *, migrate: bool = False) -> None:
        """Connect and check the schema; create it in an empty database.

        Raises SchemaTooNew, or SchemaTooOld unless asked to migrate.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...

    async def secret(self) -> bytes:
        """Return the cluster's 32 secret bytes, made on first use.

        They sign tokens and callback ids.
        """
        ...

    async def join(self, node_name: str, address: str, *, now_ms: int, lease_ms: int) -> int:
        """Become the one live node and owner of all buckets; return a new incarnation.

        It is higher than all before.

        A node of the same name is replaced at once: its row is marked dead first, which
        waits for its commits in flight. A live node of another name whose lease has not
        lapsed raises NodeTaken; one whose lease has lapsed is marked dead and replaced.
        """
        ...

    async def renew(self, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
        """Prolong the lease until now + lease."""
        ...

    async def leave(self, incarnation: int) -> None:
        """Mark the node gone, so that another may take over without waiting.

        Harmless when fenced.
        """
        ...

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> None:
        """Write everything in one transaction with full durability, or nothing.

        Rows that are done are deleted; those that are not there any more are no matter.
        Raises Fenced, StoreUnavailable (nothing was written) or CommitUnknown (it may have been).
        """
        ...

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        """Return the execution with all its records."""
        ...

    async def load_payloads(
        self, key: ExecutionKey, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        """Return those of the execution's payloads that are there, by digest."""
        ...

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        """Return the executions that have one of these names, each as some commit left it."""
        ...

    async def get(self, key: ExecutionKey) -> ExecutionRow | None:
        """Return the row alone."""
        ...

    async def read_records(
        self, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool = False
    ) -> list[RecordRow]:
        """Return records that hold public events, at most `limit` of them.

        Forward: in order, from the one that holds `from_event_id` on. Reverse: backwards
        from that one.
        """
        ...

    async def list_executions(self, query: ListQuery) -> list[ExecutionRow]:
        """Return one page, ordered by (started_ms, execution_id)."""
        ...

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        """Return alarms due at or before `until_ms`, in order, after the given one."""
        ...

    async def waiting_for(
        self, waiting_for: WaitingFor, *, after: ExecutionKey | None, limit: int
    ) -> list[ExecutionRow]:
        """Return executions that wait for this, ordered by key."""
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
        """Return how many rows are undelivered, or `limit` when they are more."""
        ...

    async def sweep(self, incarnation: int, *, now_ms: int, limit: int) -> int:
        """Delete up to `limit` executions whose `expires_ms` has come, with everything they own.

        Those that still have something in the outbox are left for later. Return how many.
        """
        ...

    async def put_functions(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        """Insert or replace."""
        ...

    async def functions(self) -> list[FunctionRow]:
        """Return every announced function, ordered by namespace and name."""
        ...


class StatusEvent(msgspec.Struct, frozen=True):
    """A status-change event as every sink gets it.

    `body` is a JSON object in one line of UTF-8; `id` is in it, too, and the same however often the
    event is told.
    """

    id: str
    body: bytes


class StatusSink(Protocol):
    """Who is told of status-change events, at least once each, and in order."""

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        """Return once all of them are durable there. Raises SinkError: then all come again."""
        ...


class Clock(Protocol):
    """Milliseconds since 1970 in UTC, and waiting.

    The wall clock in production, a number in tests.
    """

    def now_ms(self) -> int:
        """Return the present moment. It never goes backwards within a process."""
        ...

    async def wait_until(self, due_ms: int) -> None:
        """Return once `now_ms() >= due_ms`; never before."""
        ...
