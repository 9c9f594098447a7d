"""What an execution is at a moment: the fold of its records. Only `fold.apply` writes here."""

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

# No operation id has a colon.
DEADLINE = ":deadline"
INVOCATION_RETRY = ":retry"


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
    """A pause that is asked for, or in force since `began_ms`.

    `diverged`: nobody asked for it; a replay differed from history.
    """

    requested_ms: int
    reason: str | None
    timeout_paused: bool
    began_ms: int | None = None
    diverged: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How the handler ended, recorded ahead of the completion of its invocation."""

    succeeded: bool
    result: Payload | None
    error: ErrorObject | None


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
    callbacks_open: int = 0
    children_open: int = 0
    # STEPs that are PENDING and WAITs that are STARTED.
    timed_open: int = 0
    # What is open, and not abandoned, in each context; contexts among it.
    open_below: dict[str, dict[str, None]] = {}
    deleted_ms: int | None = None
    alarms: Alarms[str] = msgspec.field(default_factory=Alarms[str])


def identity_of(state: State) -> ExecutionIdentity:
    """Return what the ARN of the execution says."""
    return ExecutionIdentity(state.namespace, state.function, state.name, state.execution_id)


def is_open(state: State) -> bool:
    """Tell whether the execution has not ended."""
    return state.status in EXECUTION_OPEN


def wants_task(state: State) -> bool:
    """Tell whether a replay task should be on offer, unless an invocation is handed out already.

    Only the host knows whether one is.
    """
    return state.status is ExecutionStatus.RUNNING and state.dispatch is Dispatch.WANTED


def waiting_for(state: State) -> WaitingFor:
    """Say what will move the execution on. Nothing ever may: every execution is reachable.

    `diverged` is a pause that nobody asked for: a replay differed from history.
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
