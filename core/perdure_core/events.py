"""Events of a history, and the records that hold them.

A decision yields one `Record`: a time and the events that became true at it. Public events have the
names of the Lambda API (history event types) and are numbered 1, 2, 3 …; the private ones at the
end of this module hold what else the fold needs, and no API returns them. Every operation event
names its subject in full, so that a page of history can be read without folding what comes before
it.
"""

import msgspec

from perdure_core.model import ErrorObject
from perdure_core.payload import Payload


class Subject(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The operation that an event is about."""

    id: str
    name: str | None = None
    sub_type: str | None = None
    parent_id: str | None = None


class ParentLink(msgspec.Struct, frozen=True, array_like=True):
    """The chained invoke that an execution reports its end to."""

    bucket: int
    execution_id: str
    operation_id: str


class _Fact(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Something that became true; only `frozen` must be repeated on each class.

    No event can be part of a cycle, so the garbage collector does not track it.
    """


# Families, by the machine that they belong to.


class ExecutionEvent(_Fact, frozen=True):
    """About the execution as a whole."""


class OperationEvent(_Fact, frozen=True):
    """About one operation."""

    subject: Subject


class ContextEvent(OperationEvent, frozen=True):
    """About a CONTEXT."""


class StepEvent(OperationEvent, frozen=True):
    """About a STEP."""


class WaitEvent(OperationEvent, frozen=True):
    """About a WAIT."""


class CallbackEvent(OperationEvent, frozen=True):
    """About a CALLBACK."""


class ChainedInvokeEvent(OperationEvent, frozen=True):
    """About a CHAINED_INVOKE."""


# The execution.


class ExecutionStarted(ExecutionEvent, frozen=True, tag=1):
    """The first event of every history."""

    namespace: str
    function: str
    name: str
    execution_id: str
    timeout_s: int
    retention_days: int
    input: Payload | None = None
    parent: ParentLink | None = None
    tenant_id: str | None = None
    trace_header: str | None = None
    client_context: str | None = None


class ExecutionSucceeded(ExecutionEvent, frozen=True, tag=2):
    """The handler returned."""

    result: Payload | None = None


class ExecutionFailed(ExecutionEvent, frozen=True, tag=3):
    """The handler raised, or its outcome was not allowed."""

    error: ErrorObject


class ExecutionTimedOut(ExecutionEvent, frozen=True, tag=4):
    """The deadline passed before the handler ended."""

    error: ErrorObject


class ExecutionStopped(ExecutionEvent, frozen=True, tag=5):
    """A client stopped it."""

    error: ErrorObject


class ExecutionPaused(ExecutionEvent, frozen=True, tag=6):
    """No invocation runs, and none will until it is resumed.

    `diverged`: automatic, because a replay differed from the history.
    """

    requested_ms: int
    reason: str | None = None
    timeout_paused: bool = True
    diverged: bool = False


class ExecutionResumed(ExecutionEvent, frozen=True, tag=7):
    """A pause, or the request for one, was withdrawn."""

    reason: str | None = None


class InvocationCompleted(ExecutionEvent, frozen=True, tag=8):
    """An invocation ended: it suspended, ended the execution, or broke (then with an error).

    `wanted` says whether another one is due at once; `retry_at_ms` when one is due later.
    """

    invocation_id: str
    started_ms: int
    error: ErrorObject | None = None
    wanted: bool = False
    retry_at_ms: int | None = None


# Contexts.


class ContextStarted(ContextEvent, frozen=True, tag=20):
    """A child context was entered."""


class ContextSucceeded(ContextEvent, frozen=True, tag=21):
    """A child context returned."""

    result: Payload | None = None
    replay_children: bool = False


class ContextFailed(ContextEvent, frozen=True, tag=22):
    """A child context raised."""

    error: ErrorObject


# Steps.


class StepStarted(StepEvent, frozen=True, tag=30):
    """An attempt began."""


class StepSucceeded(StepEvent, frozen=True, tag=31):
    """An attempt returned; with a delay it was a poll whose condition does not hold yet.

    `duration_ms`: how long its body ran, as its worker says.
    """

    attempt: int
    result: Payload | None = None
    next_attempt_delay_ms: int | None = None
    duration_ms: int | None = None


class StepFailed(StepEvent, frozen=True, tag=32):
    """An attempt raised; with a delay there will be another. `duration_ms` as of a success."""

    attempt: int
    error: ErrorObject
    next_attempt_delay_ms: int | None = None
    duration_ms: int | None = None


# Waits.


class WaitStarted(WaitEvent, frozen=True, tag=40):
    """A durable timer was set."""

    duration_ms: int
    scheduled_end_ms: int


class WaitSucceeded(WaitEvent, frozen=True, tag=41):
    """The timer came due."""

    duration_ms: int


class WaitCancelled(WaitEvent, frozen=True, tag=42):
    """The worker cancelled the timer."""

    error: ErrorObject | None = None


# Callbacks.


class CallbackStarted(CallbackEvent, frozen=True, tag=50):
    """A callback id was issued. Timeouts in seconds, 0 = none."""

    callback_id: str
    timeout_s: int = 0
    heartbeat_timeout_s: int = 0


class CallbackSucceeded(CallbackEvent, frozen=True, tag=51):
    """The callback was completed with a result."""

    result: Payload | None = None


class CallbackFailed(CallbackEvent, frozen=True, tag=52):
    """The callback was completed with an error."""

    error: ErrorObject


class CallbackTimedOut(CallbackEvent, frozen=True, tag=53):
    """The callback was not completed, or had no heartbeat, in time."""

    error: ErrorObject


# Chained invokes.


class ChainedInvokeStarted(ChainedInvokeEvent, frozen=True, tag=60):
    """Another function was invoked. The ARN is absent when the target does not exist."""

    function: str
    execution_arn: str | None = None
    input: Payload | None = None
    tenant_id: str | None = None


class ChainedInvokeSucceeded(ChainedInvokeEvent, frozen=True, tag=61):
    """The child execution succeeded."""

    result: Payload | None = None


class ChainedInvokeFailed(ChainedInvokeEvent, frozen=True, tag=62):
    """The child execution failed."""

    error: ErrorObject


class ChainedInvokeTimedOut(ChainedInvokeEvent, frozen=True, tag=63):
    """The child execution timed out."""

    error: ErrorObject


class ChainedInvokeStopped(ChainedInvokeEvent, frozen=True, tag=64):
    """The child execution was stopped."""

    error: ErrorObject


# Private events: folded like the others, but not numbered, and returned by no API.


class CheckpointAccepted(ExecutionEvent, frozen=True, tag=80):
    """A checkpoint was accepted. The events after it in its record are that checkpoint's own.

    `news`: the answer carried changes that the handler had not seen. `revoked`: it carried no
    token. `delivered`: how many of those changes fitted into it (None: all of them).
    """

    invocation_id: str
    started_ms: int
    client_token: str
    seen: int
    news: bool = False
    revoked: bool = False
    delivered: int | None = None


class InvocationReturned(ExecutionEvent, frozen=True, tag=81):
    """A worker handed an unfinished invocation back."""

    invocation_id: str


class InvocationRetryDue(ExecutionEvent, frozen=True, tag=82):
    """The backoff after a broken invocation is over."""


class OutcomeRecorded(ExecutionEvent, frozen=True, tag=83):
    """The outcome arrived by checkpoint; it ends the execution once the invocation completes."""

    succeeded: bool
    result: Payload | None = None
    error: ErrorObject | None = None


class PauseRequested(ExecutionEvent, frozen=True, tag=84):
    """A pause was requested while an invocation runs."""

    reason: str | None = None
    timeout_paused: bool = True


class DeletionRequested(ExecutionEvent, frozen=True, tag=85):
    """Retention may sweep the execution now."""


class StepReady(StepEvent, frozen=True, tag=90):
    """The delay before the next attempt is over."""


class StepHeartbeat(StepEvent, frozen=True, tag=92):
    """A heartbeat of an attempt, with details for the attempts after it."""

    details: str | None = None


class CallbackHeartbeat(CallbackEvent, frozen=True, tag=91):
    """A heartbeat of a callback; its heartbeat timeout restarts, longer by what is not recorded.

    During `slack_ms` further heartbeats need no record.
    """

    slack_ms: int = 0


# Closed unions of each family: `match` over one of these needs no last case.

AnyExecutionEvent = (
    ExecutionStarted
    | ExecutionSucceeded
    | ExecutionFailed
    | ExecutionTimedOut
    | ExecutionStopped
    | ExecutionPaused
    | ExecutionResumed
    | InvocationCompleted
    | CheckpointAccepted
    | InvocationReturned
    | InvocationRetryDue
    | OutcomeRecorded
    | PauseRequested
    | DeletionRequested
)
AnyContextEvent = ContextStarted | ContextSucceeded | ContextFailed
AnyStepEvent = StepStarted | StepSucceeded | StepFailed | StepReady | StepHeartbeat
AnyWaitEvent = WaitStarted | WaitSucceeded | WaitCancelled
AnyCallbackEvent = (
    CallbackStarted | CallbackSucceeded | CallbackFailed | CallbackTimedOut | CallbackHeartbeat
)
AnyChainedInvokeEvent = (
    ChainedInvokeStarted
    | ChainedInvokeSucceeded
    | ChainedInvokeFailed
    | ChainedInvokeTimedOut
    | ChainedInvokeStopped
)
AnyOperationEvent = (
    AnyStepEvent | AnyWaitEvent | AnyContextEvent | AnyCallbackEvent | AnyChainedInvokeEvent
)
Event = AnyExecutionEvent | AnyOperationEvent

_PRIVATE = frozenset(
    {
        CheckpointAccepted,
        InvocationReturned,
        InvocationRetryDue,
        OutcomeRecorded,
        PauseRequested,
        DeletionRequested,
        StepReady,
        StepHeartbeat,
        CallbackHeartbeat,
    }
)


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The events of one decision, and when they became true."""

    at_ms: int
    events: tuple[Event, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def is_public(event: Event) -> bool:
    """Return whether the event is numbered, and returned by the APIs."""
    return type(event) not in _PRIVATE


def public_count(record: Record) -> int:
    """Return how many event numbers the record takes."""
    return sum([type(event) not in _PRIVATE for event in record.events])


def encode_record(record: Record) -> bytes:
    """Return the bytes to store (MessagePack, fields by position)."""
    return _encoder.encode(record)


def decode_record(body: bytes) -> Record:
    """Decode what `encode_record` wrote. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(body)
