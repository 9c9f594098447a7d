"""Commands: everything that can be asked of an execution.

Times, random values and identities arrive as fields; nothing here makes one.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec

from perdure_core.events import ParentLink
from perdure_core.model import ErrorObject, OperationUpdate


class CompletionStatus(StrEnum):
    """Status that a worker reports at the end of an invocation."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    ERROR = "ERROR"
    DIVERGED = "DIVERGED"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Start an execution. Timeout in seconds, retention in days."""

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

    `number` counts accepted checkpoints and ended invocations, `seen` is the record up to which the
    handler knows the state, `started_ms` is when its invocation was handed out.
    """

    invocation_id: str
    number: int
    seen: int
    started_ms: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Apply a batch of updates, all or nothing.

    `callback_ids` holds an id for each CALLBACK that starts, `targets` holds for each function that
    a CHAINED_INVOKE names whether it exists. The caller prepares both.
    """

    token: CheckpointToken
    client_token: str
    updates: tuple[OperationUpdate, ...] = ()
    callback_ids: Mapping[str, str] = {}
    targets: Mapping[str, bool] = {}


class Complete(msgspec.Struct, frozen=True, kw_only=True):
    """End an invocation.

    ERROR: the invocation broke, which is not a failure of the user's code. DIVERGED: the replay
    requested other operations than the history holds.
    """

    token: CheckpointToken
    status: CompletionStatus
    result: str | None = None
    error: ErrorObject | None = None


class HandBack(msgspec.Struct, frozen=True):
    """Return an unfinished invocation to the queue. This is not a failure."""

    token: CheckpointToken


class AlarmDue(msgspec.Struct, frozen=True):
    """Time has passed: apply everything that is due by now."""


class CompleteCallback(msgspec.Struct, frozen=True, kw_only=True):
    """Complete a callback, with a result or an error.

    `accept_equal`: nothing is refused, and nothing changes, if it was completed so before.
    """

    operation_id: str
    succeeded: bool
    result: str | None = None
    error: ErrorObject | None = None
    accept_equal: bool = True


class HeartbeatCallback(msgspec.Struct, frozen=True):
    """Restart a callback's heartbeat timeout."""

    operation_id: str


class ChildEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The execution of a chained invoke has ended. Repeating this changes nothing."""

    operation_id: str
    status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"]
    result: str | None = None
    error: ErrorObject | None = None


class Stop(msgspec.Struct, frozen=True):
    """End the execution as STOPPED."""

    error: ErrorObject | None = None


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Hand out no invocations until resumed.

    `running`: whether one is handed out now, which only the host knows.
    """

    running: bool
    reason: str | None = None
    timeout_paused: bool = True


class Resume(msgspec.Struct, frozen=True):
    """Withdraw a pause."""

    reason: str | None = None


class Delete(msgspec.Struct, frozen=True):
    """Make the execution due for the retention sweep now."""


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
