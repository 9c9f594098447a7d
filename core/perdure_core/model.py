"""Data of the state machines: operations, updates, errors, types and statuses.

Types, actions and statuses are spelled exactly as on the wire (Lambda API model: OperationType,
OperationAction, OperationStatus, ExecutionStatus), so that no translation table exists anywhere.

None of these structs can be part of a cycle, so the garbage collector does not track them.
"""

from enum import StrEnum

import msgspec

from perdure_core.payload import Payload, StoredPayload


class ExecutionStatus(StrEnum):
    """Status of an execution."""

    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
    DELETING = "DELETING"


class OperationType(StrEnum):
    """Type of an operation; each has its own state machine."""

    EXECUTION = "EXECUTION"
    CONTEXT = "CONTEXT"
    STEP = "STEP"
    WAIT = "WAIT"
    CALLBACK = "CALLBACK"
    CHAINED_INVOKE = "CHAINED_INVOKE"


class OperationAction(StrEnum):
    """Action of an update. HEARTBEAT does not exist in the Lambda API."""

    START = "START"
    SUCCEED = "SUCCEED"
    FAIL = "FAIL"
    RETRY = "RETRY"
    CANCEL = "CANCEL"
    HEARTBEAT = "HEARTBEAT"


class OperationStatus(StrEnum):
    """Status of an operation."""

    STARTED = "STARTED"
    PENDING = "PENDING"
    READY = "READY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"


EXECUTION_OPEN = frozenset(
    {ExecutionStatus.RUNNING, ExecutionStatus.PAUSING, ExecutionStatus.PAUSED}
)
# Actions that leave an operation open and carry no outcome.
ACTIONS_OPEN = frozenset({OperationAction.START, OperationAction.HEARTBEAT})
OPERATION_OPEN = frozenset(
    {OperationStatus.STARTED, OperationStatus.PENDING, OperationStatus.READY}
)


class ErrorObject(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Why something failed (Lambda API model: ErrorObject).

    Of a large one only the beginning is recorded; `kept` refers to the whole.
    """

    message: str | None = None
    type: str | None = None
    data: str | None = None
    stack_trace: tuple[str, ...] = ()
    kept: StoredPayload | None = None

    def __repr__(self) -> str:
        """Return type, message and cause, as people read an error; lists of errors show these."""
        name = None if self.type is None else self.type.removeprefix("perdure.exceptions.")
        text = ": ".join(each for each in (name, self.message) if each is not None) or "Error"
        cause = next((each for each in self.stack_trace if each.startswith("caused by ")), None)
        return text if cause is None else f"{text}, {cause}"


class ExecutionDetails(msgspec.Struct, gc=False):
    """Details of an EXECUTION operation."""

    input: Payload | None = None


class ContextDetails(msgspec.Struct, gc=False):
    """Details of a CONTEXT operation."""

    replay_children: bool = False
    result: Payload | None = None
    error: ErrorObject | None = None


class StepDetails(msgspec.Struct, gc=False):
    """Details of a STEP operation. `attempt` counts finished attempts.

    `attempt_started_ms` is when the attempt in progress was recorded to begin, and `heartbeat_ms`
    when its last heartbeat was. `heartbeat` holds the details of the last heartbeat, which may be
    that of an earlier attempt.
    """

    attempt: int = 0
    next_attempt_ms: int | None = None
    result: Payload | None = None
    error: ErrorObject | None = None
    attempt_started_ms: int | None = None
    heartbeat: str | None = None
    heartbeat_ms: int | None = None


class WaitDetails(msgspec.Struct, gc=False):
    """Details of a WAIT operation."""

    duration_ms: int
    scheduled_end_ms: int


class CallbackDetails(msgspec.Struct, gc=False):
    """Details of a CALLBACK operation. Without a timeout there is no due time for it.

    `heartbeat_ms` is when the last recorded heartbeat was.
    """

    callback_id: str
    timeout_s: int = 0
    heartbeat_timeout_s: int = 0
    result: Payload | None = None
    error: ErrorObject | None = None
    timeout_due_ms: int | None = None
    heartbeat_due_ms: int | None = None
    heartbeat_ms: int | None = None


class ChainedInvokeDetails(msgspec.Struct, gc=False):
    """Details of a CHAINED_INVOKE operation. Without `execution_arn` the target does not exist."""

    function: str
    execution_arn: str | None = None
    result: Payload | None = None
    error: ErrorObject | None = None


Details = (
    ExecutionDetails
    | ContextDetails
    | StepDetails
    | WaitDetails
    | CallbackDetails
    | ChainedInvokeDetails
)


class Operation(msgspec.Struct, kw_only=True, gc=False):
    """One operation as it is now. Inside the service only `apply` changes it."""

    id: str
    type: OperationType
    status: OperationStatus
    started_ms: int
    details: Details
    ended_ms: int | None = None
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None


class OperationUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change that a worker requests (Lambda API model: OperationUpdate).

    Options are flat: each is read only for the type and action that it belongs to, and rejected
    elsewhere. Durations are milliseconds, the callback's timeouts seconds (0 = none).
    """

    id: str
    type: OperationType
    action: OperationAction
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    payload: str | None = None
    error: ErrorObject | None = None
    replay_children: bool = False
    next_attempt_delay_ms: int | None = None
    wait_ms: int | None = None
    timeout_s: int = 0
    heartbeat_timeout_s: int = 0
    function: str | None = None
    tenant_id: str | None = None
    trace_header: str | None = None
    duration_ms: int | None = None
