"""Helpers of store tests: places for databases, and small executions."""

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from perdure_host.memory_store import MemoryStore
from perdure_host.ports import (
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionRow,
    ListQuery,
    OutboxRow,
    PayloadRow,
    RecordRow,
    StatusEventRow,
    Store,
    StoredExecution,
)
from perdure_host.sql import open_store

LEASE_MS = 10_000


class Place:
    """Where stores can be opened, by several nodes and one after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._memory = MemoryStore()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[Store]:
        """Open the place as one more process would."""
        store = self._memory if self.url == "memory://" else open_store(self.url)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @contextlib.asynccontextmanager
    async def joined(self, node_name: str = "alpha") -> AsyncGenerator[tuple[Store, int]]:
        """Open the place and join at the beginning of time."""
        async with self.opened() as store:
            yield store, await store.join(node_name, f"{node_name}:1", now_ms=0, lease_ms=LEASE_MS)


def key(number: int, bucket: int = 7) -> ExecutionKey:
    return ExecutionKey(bucket, f"{number:032x}")


def name_of(row: ExecutionRow) -> ExecutionName:
    return ExecutionName(row.key.bucket, row.namespace, row.function, row.name)


async def find(
    store: Store, name: str, *, namespace: str = "default", function: str = "order"
) -> ExecutionRow | None:
    """Return the one execution of this name."""
    sought = ExecutionName(7, namespace, function, name)
    return (await store.find_many([sought])).get(sought)


def first_row(number: int = 1, **facts: object) -> ExecutionRow:
    """Return the row of an execution that has just been started."""
    row = ExecutionRow(
        key=key(number),
        namespace="default",
        function="order",
        name=f"order-{number}",
        status="RUNNING",
        started_ms=1_000 + number,
        input_digest=b"\x00\xff",
        sequence=1,
        event_count=1,
        waiting_for="task",
    )
    return msgspec.structs.replace(row, **facts)


def record(sequence: int, *, first_event_id: int = 0, event_count: int = 1) -> RecordRow:
    """Return a record; by default its one event bears the record's own number."""
    return RecordRow(sequence, first_event_id or sequence, event_count, b"body %d \x00" % sequence)


def start(
    number: int = 1,
    *,
    records: tuple[RecordRow, ...] = (),
    alarm_ms: int | None = None,
    outbox: tuple[OutboxRow, ...] = (),
    payloads: tuple[PayloadRow, ...] = (),
    status_events: tuple[StatusEventRow, ...] = (),
    **facts: object,
) -> Change:
    """Return the change that begins an execution."""
    return Change(
        row=first_row(number, **facts),
        new=True,
        records=records or (record(1),),
        payloads=payloads,
        alarm_moved=alarm_ms is not None,
        alarm_ms=alarm_ms,
        outbox=outbox,
        status_events=status_events,
    )


def go_on(change: Change, *payloads: PayloadRow, **facts: object) -> Change:
    """Return the change that follows this one with one more record."""
    sequence = change.row.sequence + 1
    row = msgspec.structs.replace(
        change.row, **{"sequence": sequence, "event_count": sequence, **facts}
    )
    return Change(row=row, new=False, records=(record(sequence),), payloads=payloads)


def changed(change: Change, **facts: object) -> Change:
    """Return the change with some fields replaced."""
    return msgspec.structs.replace(change, **facts)


def letter(number: int, bucket: int = 7, sender: int = 0) -> OutboxRow:
    return OutboxRow(bucket, f"{sender:032x}-{number}", b"text \x00")


def status_event(number: int = 1, event_id: int = 1, **facts: object) -> StatusEventRow:
    """Return a status event of an execution; by default of its start."""
    row = StatusEventRow(
        key=key(number),
        event_id=event_id,
        at_ms=1_000 + number,
        namespace="default",
        function="order",
        name=f"order-{number}",
        status="RUNNING",
        started_ms=1_000 + number,
    )
    return msgspec.structs.replace(row, **facts)


def payload(text: bytes) -> PayloadRow:
    """Return the row of a large text, by a digest that no store looks into."""
    return PayloadRow(b"\x00%d" % len(text) + text[:20], text)


async def loaded(store: Store, number: int) -> StoredExecution:
    found = await store.load(key(number))
    assert found is not None
    return found


async def remaining(store: Store) -> list[ExecutionKey]:
    page = await store.list_executions(ListQuery(namespace="default", limit=9))
    return [row.key for row in page.rows]
