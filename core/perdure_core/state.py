"""State of an execution: the fold of its records. Only `fold.apply` changes it."""

from enum import StrEnum
from typing import Literal

import msgspec

from perdure_core.alarms import Alarms
from perdure_core.events import ParentLink
from perdure_core.identity import ExecutionIdentity
from perdure_core.model import (
    EXECUTION_OPEN,
    ErrorObject,
    ExecutionStatus,
    Operation,
)
from perdure_core.payload import Payload

WaitingFor = Literal["task", "timer", "callback", "child", "pause", "diverged", "nothing", "ended"]

# Keys of alarms beside those of operations, whose ids have no colon.
DEADLINE = ":deadline"
INVOCATION_RETRY = ":retry"


class Dispatch(StrEnum):
    """Demand of an execution for a worker. While paused it is remembered, but not acted on.

    IDLE → WANTED: something happened that the handler must see.
    WANTED → RUNNING: a worker's first checkpoint arrived (handing out records nothing).
    RUNNING, WANTED → IDLE, WANTED, BACKOFF: the invocation completed, was returned, or broke.
    BACKOFF → WANTED: its delay is over.
    """

    IDLE = "idle"
    WANTED = "wanted"
    RUNNING = "running"
    BACKOFF = "backoff"


class LastCall(msgspec.Struct):
    """The last accepted checkpoint, so that its repeat can be answered in the same way.

    `sequence` is its record: the answer, now or to a repeat, shows nothing later for sure.
    """

    sequence: int
    client_token: str
    turn: int
    revoked: bool
    changed: dict[str, None]


class PauseState(msgspec.Struct):
    """A pause that is requested, or in force since `began_ms`.

    `diverged`: automatic, because a replay differed from the history.
    """

    requested_ms: int
    reason: str | None
    timeout_paused: bool
    began_ms: int | None = None
    diverged: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """Outcome of the handler, recorded ahead of the completion of its invocation."""

    succeeded: bool
    result: Payload | None
    error: ErrorObject | None


class State(msgspec.Struct, kw_only=True):
    """One execution, folded.

    `operations` is in order of start. `unseen` maps an operation that changed without the handler
    to the record that changed it. `turn` counts accepted checkpoints and ended invocations,
    `sequence` the folded records. `news`: an answer of this invocation carried changes that its
    handler had not seen before.
    """

    namespace: str
    function: str
    name: str
    execution_id: str
    started_ms: int
    timeout_s: int
    retention_days: int
    deadline_ms: int
    input: Payload | None
    parent: ParentLink | None
    tenant_id: str | None
    trace_header: str | None = None
    client_context: str | None = None
    status: ExecutionStatus = ExecutionStatus.RUNNING
    ended_ms: int | None = None
    result: Payload | None = None
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
    # Callbacks that wait for an outside caller, oldest first, by the number of the operation.
    open_callbacks: dict[str, int] = {}
    children_open: int = 0
    # STEPs that are PENDING and WAITs that are STARTED.
    timed_open: int = 0
    # By context: the operations in it, contexts included, that are open and not abandoned.
    open_below: dict[str, dict[str, None]] = {}
    deleted_ms: int | None = None
    alarms: Alarms[str] = msgspec.field(default_factory=Alarms[str])

    @property
    def callbacks_open(self) -> int:
        """Return how many callbacks wait for an outside caller."""
        return len(self.open_callbacks)


def identity_of(state: State) -> ExecutionIdentity:
    """Return the identity that the ARN of the execution holds."""
    return ExecutionIdentity(state.namespace, state.function, state.name, state.execution_id)


def is_open(state: State) -> bool:
    """Return whether the execution has not ended."""
    return state.status in EXECUTION_OPEN


def wants_task(state: State) -> bool:
    """Return whether a replay task should be offered, unless an invocation is handed out already.

    Only the host knows whether one is.
    """
    return state.status is ExecutionStatus.RUNNING and state.dispatch is Dispatch.WANTED


def waiting_for(state: State) -> WaitingFor:
    """Return what the execution waits for. Must never be `nothing`: then it could not move on.

    `diverged` is an automatic pause, because a replay differed from the history.
    """
    if not is_open(state):
        return "ended"
    if state.status is ExecutionStatus.PAUSED:
        return "diverged" if state.pause is not None and state.pause.diverged else "pause"
    if state.dispatch is Dispatch.WANTED or state.dispatch is Dispatch.RUNNING:
        return "task"
    if state.dispatch is Dispatch.BACKOFF:
        return "timer"
    if state.callbacks_open:
        return "callback"
    if state.children_open:
        return "child"
    return "timer" if state.timed_open else "nothing"
