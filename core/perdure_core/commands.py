"""Everything that can be asked of an execution.

Clocks, chance and identities arrive as fields, never from inside.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from perdure_core.events import ParentLink
from perdure_core.model import ErrorObject, OperationUpdate

CompletionStatus = Literal["SUCCEEDED", "FAILED", "PENDING", "ERROR", "DIVERGED"]
COMPLETION_STATUSES: Final[tuple[CompletionStatus, ...]] = get_args(CompletionStatus)


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a history. Timeout in seconds, retention in days."""

    namespace: str
    function: str
    name: str
    execution_id: str
    timeout_s: int
    retention_days: int
    input: str | None = None
    parent: ParentLink | None = None
    tenant_id: str | None = None
    trace_header: str | None = None
    client_context: str | None = None


class CheckpointToken(msgspec.Struct, frozen=True, array_like=True):
    """A decoded checkpoint token: who may checkpoint next, and what it has seen.

    `number` counts accepted checkpoints and completions, `seen` is the record up to which the
    handler knows the state, `started_ms` is when its invocation was handed out.
    """

    invocation_id: str
    number: int
    seen: int
    started_ms: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Apply a batch of updates, all or nothing.

    `callback_ids` holds an id for each CALLBACK that starts, `targets` tells for each function that
    a CHAINED_INVOKE names whether it exists; both are the caller's to prepare.
    """

    token: CheckpointToken
    client_token: str
    updates: tuple[OperationUpdate, ...] = ()
    callback_ids: Mapping[str, str] = {}
    targets: Mapping[str, bool] = {}


class Complete(msgspec.Struct, frozen=True, kw_only=True):
    """End an invocation.

    ERROR means that the invocation broke, not the code's own logic; DIVERGED that the replay asked
    for other operations than the history holds.
    """

    token: CheckpointToken
    status: CompletionStatus
    result: str | None = None
    error: ErrorObject | None = None


class HandBack(msgspec.Struct, frozen=True):
    """Return an unfinished invocation to the queue; no failure."""

    token: CheckpointToken


class AlarmDue(msgspec.Struct, frozen=True):
    """Time has passed: do all that is due by now."""


class CompleteCallback(msgspec.Struct, frozen=True, kw_only=True):
    """Complete a callback, with a result or an error."""

    operation_id: str
    succeeded: bool
    result: str | None = None
    error: ErrorObject | None = None


class HeartbeatCallback(msgspec.Struct, frozen=True):
    """Start a callback's heartbeat timeout anew."""

    operation_id: str


class ChildEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A chained invoke's execution ended. Repeating it changes nothing."""

    operation_id: str
    status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"]
    result: str | None = None
    error: ErrorObject | None = None


class Stop(msgspec.Struct, frozen=True):
    """End the execution as STOPPED."""

    error: ErrorObject | None = None


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Begin no invocations until resumed.

    `running` tells whether one is handed out now, which only the host knows.
    """

    running: bool
    reason: str | None = None
    timeout_paused: bool = True


class Resume(msgspec.Struct, frozen=True):
    """Take a pause back."""

    reason: str | None = None


class Delete(msgspec.Struct, frozen=True):
    """Let retention sweep the execution now."""


Command = (
    Checkpoint
    | Complete
    | HandBack
    | AlarmDue
    | CompleteCallback
    | HeartbeatCallback
    | ChildEnded
    | Stop
    | Pause
    | Resume
    | Delete
)
