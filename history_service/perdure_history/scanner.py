"""Scanner for executions that cannot move on by themselves.

Each finding counts in a metric and is logged; where offering or firing again can repair it, that is
done. A finding that depends on memory must show in two scans in a row, because database and memory
are read one after the other and may differ for a moment.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from perdure_core.limits import BUCKETS
from perdure_core.refusals import Quarantined, Unknown
from perdure_history.execution_cache import to_row
from perdure_history.executions import Executions
from perdure_host.errors import Unreadable
from perdure_host.ports import Alarm, Change, ExecutionKey, ExecutionRow
from perdure_host.telemetry import open_log

_PAGE: Final = 1_000
_LATE_MS: Final = 30_000
_SUSPECTS_MAX: Final = 100_000
# Buckets that a scan looks through for lost alarms: all of them in eight minutes.
_SCANNED_BUCKETS: Final = 128

_log = open_log("perdure.history")


class Scanner:
    """Compares the database, page by page, with what is in memory."""

    def __init__(
        self, executions: Executions, reoffer: Callable[[ExecutionRow], Awaitable[None]]
    ) -> None:
        self._executions = executions
        self._reoffer = reoffer
        # Suspects of the last scan, with what must be unchanged in the next.
        self._late: set[Alarm] = set()
        self._stranded: dict[ExecutionKey, int] = {}
        # Where the search for lost alarms goes on.
        self._next_bucket = 0

    async def scan(self) -> int:
        """Scan once; return the number of findings. Raises StoreError."""
        executions = self._executions
        if executions.unavailable_reason is not None:
            return 0
        found = self._count_quarantined()
        found += await self._find_unreachable()
        found += await self._find_late()
        found += await self._restore_alarms()
        if executions.claims.closed_ms > _LATE_MS:
            found += await self._find_stranded()
        return found

    def _count_quarantined(self) -> int:
        """Count what is set aside; each was logged when it was found."""
        found = len(self._executions.quarantine)
        for _ in range(found):
            self._executions.metrics.invariant_violated("quarantined")
        return found

    async def _find_unreachable(self) -> int:
        """Report executions that wait for nothing at all."""
        rows = await self._executions.store.waiting_for("nothing", after=None, limit=_PAGE)
        for row in rows:
            self._report("unreachable", row)
        return len(rows)

    async def _find_late(self) -> int:
        """Report alarms that should have fired long ago, and fire them again."""
        executions = self._executions
        until_ms = executions.clock.now_ms() - _LATE_MS
        late = set(await executions.store.alarms(until_ms=until_ms, after=None, limit=_PAGE))
        found = sorted(a for a in late & self._late if a.key not in executions.quarantine)
        self._late = late
        for alarm in found:
            if await self._is_stray(alarm):
                continue
            executions.metrics.invariant_violated("timer_late")
            _log.error("a timer was not handled in time", execution_id=alarm.key.execution_id)
            executions.timers.moved(alarm.key, alarm.due_ms)
        return len(found)

    async def _is_stray(self, alarm: Alarm) -> bool:
        """Return whether the alarm belongs to no execution; then it is set aside."""
        executions, key = self._executions, alarm.key
        try:
            if await executions.store.get(key) is not None:
                return False
        except Unreadable as error:
            executions.quarantine.set_aside(key, str(error))
            return True
        place = f"{alarm.due_ms} {key.bucket} {key.execution_id!r}"
        executions.quarantine.add_row("alarm", place, "there is no execution of this id")
        return True

    async def _restore_alarms(self) -> int:
        """Restore the alarms that executions of the next buckets have lost; return how many."""
        executions = self._executions
        to_bucket = min(self._next_bucket + _SCANNED_BUCKETS, BUCKETS)
        keys = await executions.store.without_alarm(
            from_bucket=self._next_bucket, to_bucket=to_bucket, limit=_PAGE
        )
        self._next_bucket = to_bucket % BUCKETS
        restored = 0
        for key in executions.quarantine.without(keys):
            try:
                restored += await self._restore_alarm(key)
            except (Unknown, Quarantined):
                continue
        return restored

    async def _restore_alarm(self, key: ExecutionKey) -> bool:
        """Write the alarm that the execution's records ask for; return whether there is one."""
        executions = self._executions
        execution = await executions.committed(key)
        due_ms = execution.state.alarms.next_due_ms()
        if due_ms is None:
            return False
        executions.metrics.invariant_violated("alarm_lost")
        _log.error("an execution had lost its alarm; it is restored", execution_id=key.execution_id)
        change = Change(
            row=to_row(execution), new=False, records=(), alarm_moved=True, alarm_ms=due_ms
        )
        moved = partial(executions.timers.moved, key, due_ms)
        execution.alarm_ms = due_ms
        execution.batch = executions.committer.submit(change, effect=moved)
        await execution.batch.wait()
        executions.quarantine.release_alarm(key)
        return True

    async def _find_stranded(self) -> int:
        """Report executions that want a worker but are neither queued nor running; offer them."""
        executions = self._executions
        suspects: dict[ExecutionKey, int] = {}
        found = 0
        after: ExecutionKey | None = None
        while True:
            rows = await executions.store.waiting_for("task", after=after, limit=_PAGE)
            for row in rows:
                if row.key in executions.quarantine or self._is_queued_or_running(row):
                    continue
                if len(suspects) >= _SUSPECTS_MAX:
                    continue
                suspects[row.key] = row.sequence
                if self._stranded.get(row.key) == row.sequence:
                    found += 1
                    self._report("stranded", row)
                    await self._reoffer(row)
            if len(rows) < _PAGE:
                break
            after = rows[-1].key
        self._stranded = suspects
        return found

    def _is_queued_or_running(self, row: ExecutionRow) -> bool:
        executions = self._executions
        return row.key in executions.running or executions.matching.is_queued(
            row.namespace, row.function, row.key
        )

    def _report(self, rule: str, row: ExecutionRow) -> None:
        self._executions.metrics.invariant_violated(rule)
        _log.error(
            "an execution cannot move on by itself",
            rule=rule,
            execution_id=row.key.execution_id,
            function=row.function,
            status=row.status,
        )
