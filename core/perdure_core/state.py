"""What an execution is at a moment: the fold of its records. Only `fold.apply` writes here."""

import heapq
from enum import StrEnum
from typing import Literal

import msgspec

from perdure_core.events import ParentLink
from perdure_core.model import (
    EXECUTION_OPEN,
    ErrorObject,
    ExecutionStatus,
    Operation,
)

WaitingFor = Literal["task", "timer", "callback", "child", "pause", "nothing", "ended"]

# No operation id has a colon.
DEADLINE = ":deadline"
INVOCATION_RETRY = ":retry"

_STALE_ENTRIES_MAX = 64


class Dispatch(StrEnum):
    """Whether the execution wants a worker. While paused the want is remembered, not acted on.

    IDLE → WANTED: something happened that the handler has to see.
    WANTED → RUNNING: a worker's first checkpoint arrived (handing out writes nothing).
    RUNNING, WANTED → IDLE, WANTED, BACKOFF: the invocation completed, was returned, or broke.
    BACKOFF → WANTED: its delay is over.
    """

    IDLE = "idle"
    WANTED = "wanted"
    RUNNING = "running"
    BACKOFF = "backoff"


class LastCall(msgspec.Struct):
    """The last accepted checkpoint, kept so that its repeat can be answered the same again.

    `sequence` is its record: the answer, given now or to a repeat, shows nothing later for sure.
    """

    sequence: int
    client_token: str
    turn: int
    revoked: bool
    changed: dict[str, None]


class PauseState(msgspec.Struct):
    """A pause that is asked for, or in force since `began_ms`."""

    requested_ms: int
    reason: str | None
    timeout_paused: bool
    began_ms: int | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How the handler ended, recorded ahead of the completion of its invocation."""

    succeeded: bool
    result: str | None
    error: ErrorObject | None


class Alarms:
    """Due times by operation id, earliest first.

    Replaced and cleared entries stay in the heap until they surface, or outnumber the others.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def move(self, alarm_id: str, due_ms: int | None) -> None:
        """Set the alarm, or clear it with None."""
        if due_ms is None:
            self._due.pop(alarm_id, None)
        elif self._due.get(alarm_id) != due_ms:
            self._due[alarm_id] = due_ms
            heapq.heappush(self._heap, (due_ms, alarm_id))
            if len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_MAX:
                self._heap = [(due_ms, alarm_id) for alarm_id, due_ms in self._due.items()]
                heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self._due.clear()
        self._heap.clear()

    def next_due_ms(self) -> int | None:
        """Return the earliest due time."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_ms: int) -> list[str]:
        """Return what is due, in order of due time and then of id. Changes nothing.

        Walks only the top of the heap, where everything due lies: an entry is due no earlier than
        the one above it.
        """
        heap = self._heap
        ready: set[tuple[int, str]] = set()
        positions = [0]
        while positions:
            position = positions.pop()
            if position >= len(heap) or heap[position][0] > now_ms:
                continue
            due_ms, alarm_id = heap[position]
            if self._due.get(alarm_id) == due_ms:
                ready.add((due_ms, alarm_id))
            positions += (2 * position + 1, 2 * position + 2)
        return [alarm_id for _, alarm_id in sorted(ready)]

    def snapshot(self) -> dict[str, int]:
        """Return a copy, for comparisons."""
        return dict(self._due)


class State(msgspec.Struct, kw_only=True):
    """One execution, folded.

    `operations` is in order of start. `unseen` maps an operation that changed behind the handler's
    back to the record that changed it. `turn` counts consumed turns, `sequence` the folded records.
    `news` says that an answer of this invocation carried what its handler had not seen before.
    """

    namespace: str
    function: str
    name: str
    execution_id: str
    started_ms: int
    timeout_s: int
    retention_days: int
    deadline_ms: int
    input: str | None
    parent: ParentLink | None
    tenant_id: str | None
    status: ExecutionStatus = ExecutionStatus.RUNNING
    ended_ms: int | None = None
    result: str | None = None
    error: ErrorObject | None = None
    operations: dict[str, Operation] = {}
    unseen: dict[str, int] = {}
    sequence: int = 0
    event_count: int = 0
    turn: int = 0
    dispatch: Dispatch = Dispatch.WANTED
    # Known durably only once the invocation has checkpointed.
    invocation_id: str | None = None
    invocation_started_ms: int = 0
    invocations_completed: int = 0
    invocation_failures: int = 0
    last_completed: str | None = None
    news: bool = False
    revoked: bool = False
    last_call: LastCall | None = None
    outcome: Outcome | None = None
    pause: PauseState | None = None
    callbacks_open: int = 0
    children_open: int = 0
    # STEPs that are PENDING and WAITs that are STARTED.
    timed_open: int = 0
    deleted_ms: int | None = None
    alarms: Alarms = msgspec.field(default_factory=Alarms)


def is_open(state: State) -> bool:
    """Tell whether the execution has not ended."""
    return state.status in EXECUTION_OPEN


def wants_task(state: State) -> bool:
    """Tell whether a replay task should be on offer, unless an invocation is handed out already.

    Only the host knows whether one is.
    """
    return state.status is ExecutionStatus.RUNNING and state.dispatch is Dispatch.WANTED


def waiting_for(state: State) -> WaitingFor:
    """Say what will move the execution on. Nothing ever may: every execution is reachable."""
    if not is_open(state):
        return "ended"
    if state.status is ExecutionStatus.PAUSED:
        return "pause"
    if state.dispatch is Dispatch.WANTED or state.dispatch is Dispatch.RUNNING:
        return "task"
    if state.dispatch is Dispatch.BACKOFF:
        return "timer"
    if state.callbacks_open:
        return "callback"
    if state.children_open:
        return "child"
    return "timer" if state.timed_open else "nothing"
