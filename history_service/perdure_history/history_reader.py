"""Reader of executions and histories: states, pages, followed events. Only what is durable."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from perdure_core.events import decode_record, is_public
from perdure_core.identity import arn_of, parse_arn
from perdure_core.payload import StoredPayload
from perdure_core.refusals import Unknown
from perdure_core.state import State, is_open
from perdure_history.change_notifier import Deadlines
from perdure_history.execution_cache import CachedExecution, with_identity
from perdure_history.executions import Executions
from perdure_host.errors import Unreadable
from perdure_host.ports import (
    ExecutionKey,
    ExecutionPage,
    FunctionRow,
    ListQuery,
    RecordRow,
    StoredRow,
)
from perdure_host.quarantine import in_words
from perdure_host.services import (
    NumberedEvent,
    QuarantinedExecution,
    QuarantinedItem,
    key_of,
    key_of_identity,
)

_PAGE: Final = 100
_LAST_EVENT: Final = 2**31 - 1


class HistoryReader:
    """Implements `HistoryQueries`."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._deadlines = Deadlines(executions.clock)

    async def describe(self, arn: str) -> State:
        """Return the committed state."""
        return (await self._committed(arn)).state

    async def wait_ended(self, arn: str, wait_ms: int) -> State:
        """Return the committed state once the execution has ended, or after this long."""
        executions = self._executions
        deadline_ms = executions.clock.now_ms() + wait_ms
        execution = await self._committed(arn)
        if wait_ms <= 0 or not is_open(execution.state):
            return execution.state
        with (
            executions.ends.watch(execution.key) as woken,
            self._deadlines.at(deadline_ms, woken),
        ):
            while True:
                woken.clear()
                execution = await executions.committed(execution.key)
                if executions.clock.now_ms() >= deadline_ms or not is_open(execution.state):
                    return execution.state
                await woken.wait()

    async def page(
        self, arn: str, *, after_event_id: int, limit: int, reverse: bool = False
    ) -> list[NumberedEvent]:
        """Return events after this one; in reverse those before it (0: from the end)."""
        self._executions.require_ready()
        key = key_of(arn)
        try:
            row = await self._executions.store.get(key)
            if row is None:
                raise Unknown(f"no execution {arn}: it never existed, or is past its retention")
            if reverse:
                return await self._backwards(key, after_event_id or _LAST_EVENT, limit)
            return await self._forwards(key, after_event_id, limit)
        except Unreadable as error:
            raise self._executions.quarantine.set_aside(key, str(error)) from error

    async def quarantined(self, arn: str) -> QuarantinedExecution | None:
        """Return the row of an execution that is quarantined, and the reason."""
        executions = self._executions
        executions.require_ready()
        identity = parse_arn(arn)
        key = key_of_identity(identity)
        mark = executions.quarantine.get(key)
        if mark is None:
            return None
        try:
            row = await executions.store.get(key)
        except Unreadable as error:
            raise executions.quarantine.set_aside(key, str(error)) from error
        if row is None or row.identity != identity:
            return None
        return QuarantinedExecution(row, mark.reason, mark.since_ms)

    async def quarantined_items(
        self, *, after: tuple[int, str, str] | None, limit: int
    ) -> list[QuarantinedItem]:
        """Return what is set aside, oldest first, after this time, kind and place."""
        executions = self._executions
        executions.require_ready()
        later = [
            (entry, key)
            for entry, key in executions.quarantine.entries()
            if after is None or (entry.since_ms, entry.kind, entry.place) > after
        ]
        return [
            QuarantinedItem(
                entry.since_ms, entry.kind, entry.place, entry.reason, await self._arn_of(key)
            )
            for entry, key in later[:limit]
        ]

    async def stored_rows(
        self, arn: str, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        """Return the rows of an execution as they are stored. Raises Unknown."""
        self._executions.require_ready()
        rows = await self._executions.store.stored_rows(
            key_of(arn), skip=skip, limit=limit, bytes_max=bytes_max
        )
        if not rows and not skip:
            raise Unknown(f"no execution {arn}: it never existed, or is past its retention")
        return rows

    def quarantine_reason(self, key: ExecutionKey) -> str | None:
        """Return the reason for which the execution is quarantined, if it is."""
        mark = self._executions.quarantine.get(key)
        return None if mark is None else mark.reason

    async def follow(self, arn: str, after_event_id: int) -> AsyncIterator[NumberedEvent]:
        """Yield events as they become durable, until the execution has ended."""
        key = key_of(arn)
        with self._executions.changes.watch(key) as moved:
            while True:
                moved.clear()
                execution = await self._executions.committed(key)
                ended = not is_open(execution.state)
                before = after_event_id
                for event in await self.page(arn, after_event_id=after_event_id, limit=_PAGE):
                    after_event_id = event.event_id
                    yield event
                if after_event_id != before:
                    continue
                if ended:
                    return
                await moved.wait()

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        """Return one page."""
        self._executions.require_ready()
        return await self._executions.store.list_executions(query)

    async def functions(self) -> list[FunctionRow]:
        """Return every function that a worker has ever registered."""
        self._executions.require_ready()
        return self._executions.functions.all()

    async def texts(
        self, key: ExecutionKey, references: Sequence[StoredPayload]
    ) -> Mapping[StoredPayload, str]:
        """Return the payloads that these references of one execution stand for."""
        self._executions.require_ready()
        return await self._executions.payloads.texts(key, references)

    async def _arn_of(self, key: ExecutionKey | None) -> str | None:
        """Return the ARN of an execution, unless its row cannot be read."""
        if key is None:
            return None
        try:
            row = await self._executions.store.get(key)
        except Unreadable:
            return None
        return None if row is None else arn_of(row.identity)

    async def _committed(self, arn: str) -> CachedExecution:
        identity = parse_arn(arn)
        return with_identity(await self._executions.committed(key_of_identity(identity)), identity)

    async def _forwards(
        self, key: ExecutionKey, after_event_id: int, limit: int
    ) -> list[NumberedEvent]:
        records = await self._executions.store.read_records(
            key, from_event_id=after_event_id + 1, limit=limit
        )
        events = [event for record in records for event in _numbered(record)]
        return [event for event in events if event.event_id > after_event_id][:limit]

    async def _backwards(
        self, key: ExecutionKey, before_event_id: int, limit: int
    ) -> list[NumberedEvent]:
        if before_event_id <= 1:
            return []
        records = await self._executions.store.read_records(
            key, from_event_id=before_event_id - 1, limit=limit, reverse=True
        )
        events = [event for record in records for event in reversed(_numbered(record))]
        return [event for event in events if event.event_id < before_event_id][:limit]


def _numbered(row: RecordRow) -> list[NumberedEvent]:
    try:
        record = decode_record(row.body)
    except Exception as error:
        raise Unreadable(f"record {row.sequence} cannot be read: {in_words(error)}") from error
    public = [event for event in record.events if is_public(event)]
    return [
        NumberedEvent(row.first_event_id + index, record.at_ms, event)
        for index, event in enumerate(public)
    ]
