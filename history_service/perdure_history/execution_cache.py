"""Bounded cache of folded executions, least recently used first out.

Must stay true: an execution with uncommitted changes is never evicted, since its state is ahead of
the database and a second load would see the past; nor is one that a caller of the loader still
waits for.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from perdure_core.events import decode_record
from perdure_core.fold import apply
from perdure_core.identity import ExecutionIdentity, arn_of
from perdure_core.limits import RETENTION_DAYS_MAX
from perdure_core.model import ExecutionStatus
from perdure_core.refusals import Unknown
from perdure_core.room import is_half_full
from perdure_core.state import Dispatch, State, identity_of, waiting_for
from perdure_history.committer import Submission
from perdure_history.settings import HistorySettings
from perdure_host.errors import Unreadable
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ExecutionKey, ExecutionRow, RecordRow, StoredExecution
from perdure_host.quarantine import in_words
from perdure_host.services import Task
from perdure_host.telemetry import open_log

# A folded execution takes about this many times the bytes of its records, plus this much.
_BYTES_FACTOR: Final = 3
_BYTES_OVERHEAD: Final = 4_000
_DAY_MS: Final = 86_400_000
# An execution that expires this soon could be swept before a change to it is written.
SWEPT_SOON_MS: Final = 60_000
# Records of this size, with so much more for each, are folded at a time: a few milliseconds.
_SLICE_BYTES: Final = 64 * 1_024
_RECORD_BYTES: Final = 100
# The end of the year 9999, with some room for durations.
_TIME_MS_MAX: Final = 253_402_300_799_999
# The columns of a row that follow from the records, whatever release wrote them.
_FROM_RECORDS: Final = (
    *("namespace", "function", "name", "status", "started_ms", "sequence", "event_count"),
    "ended_ms",
)
# Executions that cannot be evicted yet are skipped, up to this many at a time.
_SKIPPED_MAX: Final = 16

_log = open_log("perdure.history")


class CachedExecution:
    """One folded execution in memory."""

    __slots__ = (
        "alarm_ms",
        "batch",
        "input_digest",
        "key",
        "readers",
        "size_bytes",
        "state",
        "uncertain_turn",
    )

    def __init__(self, key: ExecutionKey, state: State, input_digest: bytes) -> None:
        self.key = key
        self.state = state
        self.input_digest = input_digest
        # The alarm in the database once the commits in progress have succeeded.
        self.alarm_ms: int | None = None
        # The last commit that has a change of this execution.
        self.batch: Submission | None = None
        # Callers of the loader that have not seen it yet.
        self.readers = 0
        self.size_bytes = _BYTES_OVERHEAD
        # The turn that another node may have handed out before this one took over.
        self.uncertain_turn: int | None = None

    @property
    def is_committed(self) -> bool:
        """Return whether everything in the state is durable."""
        return self.batch is None or self.batch.is_done

    @property
    def is_uncertain(self) -> bool:
        """Return whether another node may have handed out the turn that the state is in."""
        return self.uncertain_turn == self.state.turn

    @property
    def history_bytes(self) -> int:
        """Return the size of all records."""
        return (self.size_bytes - _BYTES_OVERHEAD) // _BYTES_FACTOR

    def grow(self, record_bytes: int) -> int:
        """Add a record's size; return by how much the execution has grown."""
        grown_bytes = record_bytes * _BYTES_FACTOR
        self.size_bytes += grown_bytes
        return grown_bytes


async def fold_stored(stored: StoredExecution) -> CachedExecution:
    """Return a stored execution, folded in slices: between them other work goes on.

    Raises Unreadable, with the reason in words.
    """
    state: State | None = None
    history_bytes = slice_bytes = 0
    for number, record in enumerate(stored.records, 1):
        slice_bytes += len(record.body) + _RECORD_BYTES
        if slice_bytes > _SLICE_BYTES:
            await asyncio.sleep(0)
            slice_bytes = 0
        state = _fold_next(state, number, record)
        history_bytes += len(record.body)
    if state is None:
        raise Unreadable("it has no records")
    execution = CachedExecution(stored.row.key, state, stored.row.input_digest)
    execution.alarm_ms = state.alarms.next_due_ms()
    if state.dispatch is Dispatch.WANTED:
        execution.uncertain_turn = state.turn
    execution.grow(history_bytes)
    _check_row(stored.row, execution)
    return execution


def _fold_next(state: State | None, number: int, record: RecordRow) -> State:
    """Return the state with the record of this number folded in. Raises Unreadable."""
    if record.sequence != number:
        raise Unreadable(f"record {number} is missing")
    before = 0 if state is None else state.event_count
    try:
        state = apply(state, decode_record(record.body))
    except Exception as error:
        # Damaged bytes, an event of a later release, or one that the rules do not allow.
        raise Unreadable(f"record {number} cannot be read: {in_words(error)}") from error
    if (before + 1, state.event_count - before) != (record.first_event_id, record.event_count):
        raise Unreadable(f"record {number} has other numbers of events than its row says")
    return state


def _check_row(row: ExecutionRow, execution: CachedExecution) -> None:
    """Raise Unreadable unless the records make what the row says."""
    try:
        made = to_row(execution)
        next_due_ms = execution.alarm_ms
    except Exception as error:
        raise Unreadable(f"its records make no execution: {in_words(error)}") from error
    if execution.state.execution_id != row.key.execution_id:
        raise Unreadable("its records are those of another execution")
    for field in _FROM_RECORDS:
        if getattr(made, field) != getattr(row, field):
            raise Unreadable(f"its row has another {field} than its records make")
    times_ms = (made.started_ms, execution.state.deadline_ms, made.expires_ms, next_due_ms)
    if any(at_ms is not None and not 0 <= at_ms <= _TIME_MS_MAX for at_ms in times_ms):
        raise Unreadable("its records hold a time that no clock shows")


def with_identity(execution: CachedExecution, identity: ExecutionIdentity) -> CachedExecution:
    """Return the execution if it has this identity in every part. Raises Unknown."""
    if identity_of(execution.state) != identity:
        raise Unknown(f"no execution {arn_of(identity)}")
    return execution


def to_row(execution: CachedExecution) -> ExecutionRow:
    """Return the row of the execution as its state is now."""
    state = execution.state
    return ExecutionRow(
        key=execution.key,
        namespace=state.namespace,
        function=state.function,
        name=state.name,
        status=state.status,
        started_ms=state.started_ms,
        input_digest=execution.input_digest,
        sequence=state.sequence,
        event_count=state.event_count,
        waiting_for=waiting_for(state),
        ended_ms=state.ended_ms,
        expires_ms=expires_ms(state),
    )


def task_of(execution: CachedExecution, now_ms: int) -> Task:
    """Return the task of handing out its next invocation, as one that is offered now."""
    state = execution.state
    is_start = state.sequence == 1 and state.parent is None
    return Task(execution.key, state.namespace, state.function, now_ms, is_start)


def expires_ms(state: State) -> int | None:
    """Return when retention may delete the execution."""
    if state.deleted_ms is not None:
        return state.deleted_ms
    if state.ended_ms is None:
        return None
    assert 1 <= state.retention_days <= RETENTION_DAYS_MAX
    return state.ended_ms + state.retention_days * _DAY_MS


def is_name_free(row: ExecutionRow, now_ms: int) -> bool:
    """Return whether another execution may take over the name of this one.

    It may once the deletion has been acknowledged: that includes all that expires soon, because
    nothing is recorded then.
    """
    if row.status == ExecutionStatus.DELETING:
        return True
    return row.expires_ms is not None and row.expires_ms <= now_ms + SWEPT_SOON_MS


class ExecutionCache:
    """Executions by key, least recently used first out."""

    def __init__(self, settings: HistorySettings, metrics: ServerMetrics) -> None:
        self._settings = settings
        self._executions: OrderedDict[ExecutionKey, CachedExecution] = OrderedDict()
        self._bytes = 0
        # Counts how often the cache was cleared.
        self.epoch = 0
        self._half_full = metrics.histories_half_full
        metrics.cache_executions.set_function(lambda: len(self._executions))
        metrics.cache_bytes.set_function(lambda: self._bytes)

    def __len__(self) -> int:
        """Return the number of executions in memory."""
        return len(self._executions)

    def get(self, key: ExecutionKey) -> CachedExecution | None:
        """Return the execution, if present, and make it the most recently used."""
        execution = self._executions.get(key)
        if execution is not None:
            self._executions.move_to_end(key)
        return execution

    def add(self, execution: CachedExecution) -> None:
        """Add an execution, and evict others where the bounds require it."""
        assert execution.key not in self._executions
        self._executions[execution.key] = execution
        self._bytes += execution.size_bytes
        self.shrink()

    def grow(self, execution: CachedExecution, record_bytes: int) -> None:
        """Add the size of the last record to the execution, whether it is in the cache or not.

        Warns when that makes its history half full.
        """
        records = execution.state.sequence
        was_half_full = is_half_full(records - 1, execution.history_bytes)
        grown_bytes = execution.grow(record_bytes)
        if not was_half_full and is_half_full(records, execution.history_bytes):
            self._half_full.inc()
            _log.warning(
                "the history of an execution has used half of its room",
                execution_id=execution.key.execution_id,
                function=execution.state.function,
                records=records,
                bytes=execution.history_bytes,
            )
        if self._executions.get(execution.key) is execution:
            self._bytes += grown_bytes

    def shrink(self) -> None:
        """Evict the least recently used, except the newest and what cannot be evicted yet."""
        skipped = 0
        while self._is_over() and skipped < min(len(self._executions) - 1, _SKIPPED_MAX):
            execution = next(iter(self._executions.values()))
            if execution.is_committed and not execution.readers:
                self._drop(execution)
            else:
                skipped += 1
                self._executions.move_to_end(execution.key)

    def clear(self) -> None:
        """Drop everything, because the states may be ahead of the database."""
        self.epoch += 1
        self._executions.clear()
        self._bytes = 0

    def drop(self, key: ExecutionKey) -> None:
        """Drop one execution whose state is not that of the database, if it is in memory."""
        execution = self._executions.get(key)
        if execution is not None:
            self._drop(execution)

    def drop_expired(self, now_ms: int) -> None:
        """Drop what retention has deleted."""
        for execution in list(self._executions.values()):
            expires = expires_ms(execution.state)
            is_due = expires is not None and expires <= now_ms
            if is_due and execution.is_committed and not execution.readers:
                self._drop(execution)

    def discard(self, key: ExecutionKey | None) -> None:
        """Drop the execution that was deleted, if any, unless a caller is about to see it."""
        execution = None if key is None else self._executions.get(key)
        if execution is not None and execution.is_committed and not execution.readers:
            self._drop(execution)

    def _is_over(self) -> bool:
        return (
            len(self._executions) > self._settings.cache_executions_max
            or self._bytes > self._settings.cache_bytes_max
        )

    def _drop(self, execution: CachedExecution) -> None:
        del self._executions[execution.key]
        self._bytes -= execution.size_bytes
