"""Reading histories: pages, and following what is being written. Only what is durable is shown."""

from collections.abc import AsyncIterator
from typing import Final

from perdure_core.events import decode_record, is_public
from perdure_core.refusals import Unknown
from perdure_core.state import is_open
from perdure_history.executions import Executions
from perdure_host.ports import ExecutionKey, ExecutionRow, ListQuery, RecordRow
from perdure_host.services import NumberedEvent, key_of

_PAGE: Final = 100
_LAST_EVENT: Final = 2**31 - 1


class Reading:
    """The reading half of the history service."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    async def page(
        self, arn: str, *, after_event_id: int, limit: int, reverse: bool = False
    ) -> list[NumberedEvent]:
        """Return events after the given one; in reverse those before it (0: from the end)."""
        self._executions.require_ready()
        key = key_of(arn)
        row = await self._executions.store.get(key)
        if row is None:
            raise Unknown(f"no execution {arn}: it never was, or is past its retention")
        if reverse:
            return await self._backwards(key, after_event_id or _LAST_EVENT, limit)
        return await self._forwards(key, after_event_id, limit)

    async def follow(self, arn: str, after_event_id: int) -> AsyncIterator[NumberedEvent]:
        """Yield events as they become durable, until the execution has ended and all are told."""
        key = key_of(arn)
        with self._executions.notices.watch(key) as moved:
            while True:
                moved.clear()
                slot = await self._executions.settled(key)
                ended = not is_open(slot.state)
                told = after_event_id
                for event in await self.page(arn, after_event_id=after_event_id, limit=_PAGE):
                    after_event_id = event.event_id
                    yield event
                if after_event_id != told:
                    continue
                if ended:
                    return
                await moved.wait()

    async def list_executions(self, query: ListQuery) -> list[ExecutionRow]:
        """Return one page."""
        self._executions.require_ready()
        return await self._executions.store.list_executions(query)

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
    record = decode_record(row.body)
    public = [event for event in record.events if is_public(event)]
    return [
        NumberedEvent(row.first_event_id + index, record.at_ms, event)
        for index, event in enumerate(public)
    ]
