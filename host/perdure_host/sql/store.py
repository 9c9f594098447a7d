"""The port `Store` on a SQL database: every method runs work on one of its threads."""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import Connection

from perdure_host.errors import StoreError
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
    StoredExecution,
    StoredRow,
    UnreadableRow,
    WaitingFor,
)
from perdure_host.sql import (
    commits,
    listing,
    maintenance,
    membership,
    migration,
    postgresql,
    raw_rows,
    reading,
)
from perdure_host.sql.dialects import dialect_of
from perdure_host.sql.engine import Database
from perdure_host.sql.rows import Reading, read_execution

_Row = TypeVar("_Row")

# A lease is asked for again and again, and an answer that comes late is of no use.
RENEW_S_MAX: Final = 5.0
PING_S_MAX: Final = 3.0
# A join waits for the commits of the node that it replaces.
JOIN_S_MAX: Final = 15.0


class SqlStore:
    """A store in SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._dialect = dialect_of(self.database.kind)
        self._sweep_pace, self._remains_pace = maintenance.Pace(), maintenance.Pace()
        self._notify_unreadable: Callable[[UnreadableRow], None] = lambda _: None

    def watch_unreadable(self, notify: Callable[[UnreadableRow], None]) -> None:
        self._notify_unreadable = notify

    async def open(self, *, migrate: bool = False) -> None:
        # An embedded database belongs to this program alone, so no other needs the old schema.
        may_migrate = migrate or self.database.kind == "sqlite"
        try:
            await migration.prepare(self.database, may_migrate=may_migrate)
        except StoreError:
            # A caller need not close a store that did not open, and may try again.
            self.database.disconnect()
            raise

    async def close(self) -> None:
        await self.database.close()

    async def ping(self) -> None:
        await self.database.ping(deadline_s=PING_S_MAX)

    def reconnect(self) -> None:
        self.database.cut()

    async def now_ms(self, own_ms: int) -> int:
        # An embedded database has no clock but that of the machine.
        if self.database.kind == "sqlite":
            return own_ms
        return await self.database.keep(postgresql.now_ms, deadline_s=PING_S_MAX)

    async def secret(self) -> bytes:
        secret = await self.database.read(membership.read_secret)
        if secret is None:
            fresh = secrets.token_bytes(32)
            store = partial(membership.store_secret, dialect=self._dialect, fresh=fresh)
            await self.database.write(store)
            secret = await self.database.read(membership.read_secret)
        assert secret is not None
        return secret

    async def join(
        self,
        node_name: str,
        address: str,
        *,
        now_ms: int,
        lease_ms: int,
        spare_expired: bool = False,
    ) -> int:
        # Joining locks the secret's row.
        await self.secret()
        # In a transaction of its own: that of a node which must stand by is rolled back.
        shorten = partial(membership.shorten_leases, now_ms=now_ms, lease_ms=lease_ms)
        await self.database.write(shorten, deadline_s=JOIN_S_MAX)
        work = partial(
            membership.join,
            node_name=node_name,
            address=address,
            now_ms=now_ms,
            lease_ms=lease_ms,
            spare_expired=spare_expired,
        )
        return await self.database.write(work, deadline_s=JOIN_S_MAX)

    async def renew(self, incarnation: int, *, now_ms: int, lease_ms: int) -> None:
        await self.database.keep(
            partial(membership.renew, incarnation=incarnation, now_ms=now_ms, lease_ms=lease_ms),
            deadline_s=RENEW_S_MAX,
        )

    async def leave(self, incarnation: int) -> None:
        await self.database.write(partial(membership.leave, incarnation=incarnation))

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        work = partial(
            commits.write,
            dialect=self._dialect,
            incarnation=incarnation,
            changes=changes,
            done=(outbox_done, status_events_done),
        )
        return await self.database.write(work)

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        return await self.database.read(partial(reading.load, key=key))

    async def stored_rows(
        self, key: ExecutionKey, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        work = partial(raw_rows.stored_rows, key=key, skip=skip, limit=limit, bytes_max=bytes_max)
        return await self.database.look_up(work)

    async def load_many(
        self, keys: Sequence[ExecutionKey], *, records_max: int
    ) -> list[StoredExecution]:
        if not keys:
            return []
        return await self.database.read(
            partial(reading.load_many, keys=keys, records_max=records_max)
        )

    async def load_payloads(
        self, key: ExecutionKey, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        if not digests:
            return {}
        work = partial(reading.load_payloads, key=key, digests=digests)
        return await self.database.read(work)

    async def find_many(self, names: Sequence[ExecutionName]) -> dict[ExecutionName, ExecutionRow]:
        if not names:
            return {}
        rows = await self._page(partial(self._find_many, names=names))
        return {
            ExecutionName(row.key.bucket, row.namespace, row.function, row.name): row
            for row in rows
        }

    async def get(self, key: ExecutionKey) -> ExecutionRow | None:
        return await self.database.look_up(partial(reading.get, key=key))

    async def read_records(
        self, key: ExecutionKey, *, from_event_id: int, limit: int, reverse: bool = False
    ) -> list[RecordRow]:
        work = partial(
            reading.read_records, key=key, from_event_id=from_event_id, limit=limit, reverse=reverse
        )
        return await self.database.look_up(work)

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        def read(connection: Connection) -> tuple[ExecutionPage, list[UnreadableRow]]:
            page = Reading()
            return listing.list_executions(connection, page, self._dialect, query), page.left_out

        found, left_out = await self.database.look_up(read)
        for each in left_out:
            self._notify_unreadable(each)
        return found

    async def alarms(self, *, until_ms: int, after: Alarm | None, limit: int) -> list[Alarm]:
        work = partial(reading.alarms, until_ms=until_ms, after=after, limit=limit)
        return await self._page(work)

    async def without_alarm(
        self, *, from_bucket: int, to_bucket: int, limit: int
    ) -> list[ExecutionKey]:
        work = partial(
            reading.without_alarm, from_bucket=from_bucket, to_bucket=to_bucket, limit=limit
        )
        return await self.database.read(work)

    async def waiting_for(
        self, waiting_for: WaitingFor, *, after: ExecutionKey | None, limit: int
    ) -> list[ExecutionRow]:
        work = partial(reading.waiting_for, what=waiting_for, after=after, limit=limit)
        return await self._page(work)

    async def count_open(self) -> dict[str, int]:
        return await self.database.read(reading.count_open)

    async def outbox(self, *, after: tuple[int, str] | None, limit: int) -> list[OutboxRow]:
        return await self._page(partial(reading.read_outbox, after=after, limit=limit))

    async def status_events(self, *, limit: int) -> list[StatusEventRow]:
        return await self._page(partial(reading.read_status_events, limit=limit))

    async def count_status_events(self, *, limit: int) -> int:
        return await self.database.read(partial(reading.count_status_events, limit=limit))

    async def sweep(self, incarnation: int, *, now_ms: int, limit: int) -> int:
        def work(connection: Connection) -> int:
            with self._sweep_pace.measured():
                return maintenance.sweep(
                    connection,
                    self._dialect,
                    incarnation,
                    now_ms=now_ms,
                    limit=self._sweep_pace.rows(limit),
                )

        return await self.database.write(work)

    async def delete_remains(self, incarnation: int, *, limit: int) -> bool:
        def work(connection: Connection) -> bool:
            with self._remains_pace.measured():
                limit_now = self._remains_pace.rows(limit)
                return maintenance.delete_remains(
                    connection, self._dialect, incarnation, limit=limit_now
                )

        return await self.database.write(work)

    async def delete(
        self, incarnation: int, key: ExecutionKey, outbox: Sequence[OutboxRow] = ()
    ) -> None:
        work = partial(
            maintenance.delete_execution,
            dialect=self._dialect,
            incarnation=incarnation,
            key=key,
            sends=outbox,
        )
        await self.database.write(work)

    async def put_functions(self, incarnation: int, functions: Sequence[FunctionRow]) -> None:
        work = partial(
            maintenance.put_functions,
            dialect=self._dialect,
            incarnation=incarnation,
            rows=functions,
        )
        await self.database.write(work)

    async def functions(self) -> list[FunctionRow]:
        return await self._page(reading.read_functions)

    async def _page(self, work: Callable[[Connection, Reading], list[_Row]]) -> list[_Row]:
        """Read a page, and report the rows that were left out of it."""

        def read(connection: Connection) -> tuple[list[_Row], list[UnreadableRow]]:
            page = Reading()
            return work(connection, page), page.left_out

        rows, left_out = await self.database.read(read)
        for each in left_out:
            self._notify_unreadable(each)
        return rows

    def _find_many(
        self, connection: Connection, page: Reading, names: Sequence[ExecutionName]
    ) -> list[ExecutionRow]:
        found = self._dialect.find(connection, names)
        return page.readable(found, "execution", read_execution)


async def migrate_store(url: str) -> tuple[str | None, str]:
    """Migrate the database's schema; return the revisions before and after."""
    database = Database(url)
    try:
        return await migration.migrate(database)
    finally:
        await database.close()
