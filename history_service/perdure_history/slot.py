"""Executions in play, folded, in a bounded cache.

A slot whose changes are not committed yet is never evicted: its state is ahead of the database, and a second load would
see the past.
"""

from collections import OrderedDict
from typing import Final

from perdure_core.events import decode_record
from perdure_core.fold import fold
from perdure_core.limits import RETENTION_DAYS_MAX
from perdure_core.state import State, is_open, waiting_for
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ExecutionKey, ExecutionRow, StoredExecution

from perdure_history.committer import Batch
from perdure_history.settings import HistorySettings

# A folded execution takes about this many times the bytes of its records, and this much besides.
_BYTES_FACTOR: Final = 3
_BYTES_BESIDES: Final = 4_000
_DAY_MS: Final = 86_400_000


class Slot:
    """One execution in memory."""

    __slots__ = ("alarm_ms", "batch", "input_digest", "key", "size_bytes", "state")

    def __init__(self, key: ExecutionKey, state: State, input_digest: bytes) -> None:
        self.key = key
        self.state = state
        self.input_digest = input_digest
        # The alarm as the database has it, or will have it after the commits under way.
        self.alarm_ms: int | None = None
        # The last commit that this execution takes part in.
        self.batch: Batch | None = None
        self.size_bytes = _BYTES_BESIDES

    @property
    def is_settled(self) -> bool:
        """Tell whether everything in the state is durable."""
        return self.batch is None or self.batch.is_done

    def grow(self, record_bytes: int) -> None:
        """Take a record's size into account."""
        self.size_bytes += record_bytes * _BYTES_FACTOR


def load_slot(stored: StoredExecution) -> Slot:
    """Fold a stored execution."""
    state = fold(decode_record(record.body) for record in stored.records)
    slot = Slot(stored.row.key, state, stored.row.input_digest)
    slot.alarm_ms = state.alarms.next_due_ms()
    slot.grow(sum(len(record.body) for record in stored.records))
    return slot


def row_of(slot: Slot) -> ExecutionRow:
    """Return the row that belongs to the state."""
    state = slot.state
    return ExecutionRow(
        key=slot.key,
        namespace=state.namespace,
        function=state.function,
        name=state.name,
        status=state.status,
        started_ms=state.started_ms,
        input_digest=slot.input_digest,
        sequence=state.sequence,
        event_count=state.event_count,
        waiting_for=waiting_for(state),
        ended_ms=state.ended_ms,
        expires_ms=expires_ms(state),
    )


def expires_ms(state: State) -> int | None:
    """Return when retention may delete the execution."""
    if state.deleted_ms is not None:
        return state.deleted_ms
    if state.ended_ms is None:
        return None
    assert 1 <= state.retention_days <= RETENTION_DAYS_MAX
    return state.ended_ms + state.retention_days * _DAY_MS


class SlotCache:
    """Slots by key, least recently used first out."""

    def __init__(self, settings: HistorySettings, metrics: ServerMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slots: OrderedDict[ExecutionKey, Slot] = OrderedDict()
        self._bytes = 0

    def get(self, key: ExecutionKey) -> Slot | None:
        """Return the slot, now the most recently used."""
        slot = self._slots.get(key)
        if slot is not None:
            self._slots.move_to_end(key)
        return slot

    def add(self, slot: Slot) -> None:
        """Take a new slot in, and others out where the bounds ask for it."""
        assert slot.key not in self._slots
        self._slots[slot.key] = slot
        self._bytes += slot.size_bytes
        self._shrink()

    def resized(self, slot: Slot, grown_bytes: int) -> None:
        """Take the growth of a slot into account."""
        if slot.key in self._slots:
            self._bytes += grown_bytes

    def clear(self) -> None:
        """Forget everything: the states are not to be trusted any more."""
        self._slots.clear()
        self._bytes = 0
        self._report()

    def drop_expired(self, now_ms: int) -> None:
        """Forget what retention has deleted."""
        for slot in list(self._slots.values()):
            expires = expires_ms(slot.state)
            if not is_open(slot.state) and expires is not None and expires <= now_ms:
                self._drop(slot)
        self._report()

    def _shrink(self) -> None:
        pinned = 0
        while (
            len(self._slots) > self._settings.cache_executions_max
            or self._bytes > self._settings.cache_bytes_max
        ) and pinned < len(self._slots):
            slot = next(iter(self._slots.values()))
            if slot.is_settled and pinned < len(self._slots) - 1:
                self._drop(slot)
            else:
                pinned += 1
                self._slots.move_to_end(slot.key)
        self._report()

    def _drop(self, slot: Slot) -> None:
        del self._slots[slot.key]
        self._bytes -= slot.size_bytes

    def _report(self) -> None:
        self._metrics.cache_executions.set(len(self._slots))
        self._metrics.cache_bytes.set(self._bytes)
