"""Ports between the services: gateway, history and matching.

In one process they call each other directly, between nodes over gRPC. A refusal of the core
(`perdure_core.refusals`) and an error of the environment (`perdure_host.errors`) pass through
unchanged; the gateway turns them into status codes.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from perdure_core.commands import CompletionStatus
from perdure_core.events import Event
from perdure_core.identity import ExecutionIdentity, bucket_of, parse_arn
from perdure_core.model import ErrorObject, Operation, OperationUpdate
from perdure_core.payload import StoredPayload
from perdure_core.start_validation import START_FIELDS, StartFields
from perdure_core.state import State
from perdure_host.ports import (
    ExecutionKey,
    ExecutionPage,
    ExecutionRow,
    FunctionRow,
    ListQuery,
    StoredRow,
)


def key_of(arn: str) -> ExecutionKey:
    """Return the key of the ARN's execution. Raises Invalid."""
    return key_of_identity(parse_arn(arn))


def key_of_identity(identity: ExecutionIdentity) -> ExecutionKey:
    """Return the key of the execution."""
    bucket = bucket_of(identity.namespace, identity.function, identity.name)
    return ExecutionKey(bucket, identity.execution_id)


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for; history checks its form.

    Seconds and days are the caller's, None for those of the function.
    """

    namespace: str
    function: str
    name: str | None = None
    input: str | None = None
    timeout_s: int | None = None
    retention_days: int | None = None
    tenant_id: str | None = None
    trace_header: str | None = None
    client_context: str | None = None
    # Start it also if no such function is registered yet.
    accept_unknown: bool = False
    # For messages: how the caller's API names these.
    fields: StartFields = START_FIELDS


class StartAnswer(msgspec.Struct, frozen=True):
    """`started` is False when the name was taken by an equal start."""

    arn: str
    started: bool


class NumberedEvent(msgspec.Struct, frozen=True):
    """A public event of a history."""

    event_id: int
    at_ms: int
    event: Event


class QuarantinedExecution(msgspec.Struct, frozen=True):
    """An execution that is set aside because it cannot be read: its row, why, and since when."""

    row: ExecutionRow
    reason: str
    since_ms: int


class QuarantinedItem(msgspec.Struct, frozen=True):
    """Something that is set aside; `arn` is that of an execution whose row can be read."""

    since_ms: int
    kind: str
    place: str
    reason: str
    arn: str | None


class CheckpointAnswer(msgspec.Struct, frozen=True):
    """`token` is empty when the turn was revoked.

    `operations` changed since the worker last saw state. They hold references to large payloads;
    `HistoryQueries.texts` returns these.
    """

    key: ExecutionKey
    token: str
    operations: tuple[Operation, ...]


class StatePage(msgspec.Struct, frozen=True):
    """Operations in order of start; the marker is empty on the last page.

    They contain references to large payloads, whose total size fits a page, unless one alone is
    larger.
    """

    key: ExecutionKey
    operations: tuple[Operation, ...]
    next_marker: str


class InvocationOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker needs to run one invocation.

    The payloads of the page's operations are loaded. The page is empty if the first operation is
    too large to be sent without a request.
    """

    invocation_id: str
    arn: str
    function: str
    token: str
    page: StatePage
    updated_operation_ids: tuple[str, ...]
    first: bool
    deadline_ms: int
    handed_out_ms: int
    tenant_id: str | None = None
    trace_header: str | None = None
    client_context: str | None = None


class Task(msgspec.Struct, frozen=True):
    """The offer of one invocation, queued until a worker takes it."""

    key: ExecutionKey
    namespace: str
    function: str
    offered_ms: int
    # Nothing of the execution is under way: it goes after those that have begun.
    is_start: bool = False


class QueuedStarts(msgspec.Struct, frozen=True):
    """The starts that wait for a worker, and about how long the next one would, in seconds."""

    count: int
    wait_s: float


class ExecutionCommands(Protocol):
    """Changes executions on behalf of clients.

    ARNs and callback ids arrive as text and are checked here.

    Invalid: malformed ARN or callback id. Unknown: it names nothing.
    """

    async def start(self, request: StartRequest) -> StartAnswer:
        """Start an execution, or find the equal one of that name.

        Raises NameTaken, Unknown (function), Invalid.
        """
        ...

    async def register_functions(self, functions: Sequence[FunctionRow]) -> None:
        """Register functions before there is a worker; return once durable."""
        ...

    async def stop(self, arn: str, error: ErrorObject | None) -> int:
        """Return when it ended, in ms."""
        ...

    async def pause(self, arn: str, *, reason: str | None, timeout_paused: bool) -> str:
        """Stop starting invocations; return the new status."""
        ...

    async def resume(self, arn: str, *, reason: str | None) -> str:
        """Withdraw a pause; return the new status."""
        ...

    async def delete(self, arn: str) -> int:
        """Make it expire now; return when that was first requested, in ms."""
        ...

    async def succeed_callback(
        self, callback_id: str, result: str | None, *, accept_equal: bool = True
    ) -> None:
        """Complete the callback with a result. Raises CallbackClosed, Ended.

        With `accept_equal` a repeat of the same completion is none of these, and changes nothing.
        """
        ...

    async def fail_callback(
        self, callback_id: str, error: ErrorObject, *, accept_equal: bool = True
    ) -> None:
        """Complete the callback with an error. Raises as `succeed_callback` does."""
        ...

    async def heartbeat_callback(self, callback_id: str) -> None:
        """Restart the callback's heartbeat timeout. Raises CallbackClosed, Ended."""
        ...

    async def callback_arn(self, callback_id: str) -> str:
        """Return the ARN of the execution that the callback belongs to."""
        ...


class HistoryQueries(Protocol):
    """Reads executions, their histories and their payloads. Only what is durable is returned.

    Invalid: malformed ARN. Unknown: it names nothing.
    """

    async def describe(self, arn: str) -> State:
        """Return the committed state; the caller must not change it, nor keep it over an await.

        It holds references to large payloads; `texts` returns these.
        """
        ...

    async def wait_ended(self, arn: str, wait_ms: int) -> State:
        """Return what `describe` does once the execution has ended, or after this long."""
        ...

    async def page(
        self, arn: str, *, after_event_id: int, limit: int, reverse: bool = False
    ) -> list[NumberedEvent]:
        """Return events after this one; in reverse those before it (0: from the end).

        They hold references to large payloads; `texts` returns these.
        """
        ...

    async def quarantined(self, arn: str) -> QuarantinedExecution | None:
        """Return the row of an execution that is quarantined, and the reason."""
        ...

    async def quarantined_items(
        self, *, after: tuple[int, str, str] | None, limit: int
    ) -> list[QuarantinedItem]:
        """Return what is set aside, oldest first, after this time, kind and place."""
        ...

    async def stored_rows(
        self, arn: str, *, skip: int, limit: int, bytes_max: int
    ) -> list[StoredRow]:
        """Return the rows of an execution as they are stored; see the store. Raises Unknown."""
        ...

    def quarantine_reason(self, key: ExecutionKey) -> str | None:
        """Return the reason for which the execution is quarantined, if it is."""
        ...

    def follow(self, arn: str, after_event_id: int) -> AsyncIterator[NumberedEvent]:
        """Yield events as they are committed, until the execution has ended and all are yielded."""
        ...

    async def list_executions(self, query: ListQuery) -> ExecutionPage:
        """Return one page."""
        ...

    async def functions(self) -> list[FunctionRow]:
        """Return every function that a worker has ever registered."""
        ...

    async def texts(
        self, key: ExecutionKey, references: Sequence[StoredPayload]
    ) -> Mapping[StoredPayload, str]:
        """Return the payloads that these references of one execution stand for.

        The caller bounds how many are in memory at a time. Raises Unknown once it is swept.
        """
        ...


class InvocationCommands(Protocol):
    """Hands out invocations to workers, and records what these report.

    Checkpoint tokens and page markers arrive as text and are checked here.

    Invalid: malformed token or marker.
    """

    async def register_functions(self, functions: Sequence[FunctionRow]) -> None:
        """Register functions; return once durable."""
        ...

    async def begin(self, key: ExecutionKey, worker_id: str) -> InvocationOffer | None:
        """Return the invocation that the execution waits for, or None if it needs none any more.

        Writes nothing.
        """
        ...

    async def claim(self, tokens: Sequence[str], worker_id: str) -> tuple[str, ...]:
        """Adopt the invocations that already run in the worker.

        Return the tokens that are refused, because they are stale or mean nothing here. No
        other worker gets an invocation of these executions until all claims are decided.
        """
        ...

    async def checkpoint(
        self, token: str, client_token: str, updates: tuple[OperationUpdate, ...]
    ) -> CheckpointAnswer:
        """Accept a batch, all or nothing. Raises StaleToken, Invalid."""
        ...

    async def state_page(self, token: str, marker: str, limit: int) -> StatePage:
        """Return a further page for the running invocation. Raises StaleToken, Invalid."""
        ...

    async def complete(
        self,
        token: str,
        status: CompletionStatus,
        *,
        result: str | None,
        error: ErrorObject | None,
        replayed_operations: int = 0,
    ) -> None:
        """End an invocation. Raises StaleToken, Invalid."""
        ...

    async def hand_back(self, tokens: Sequence[str]) -> None:
        """Return unfinished invocations to their queues. Stale tokens are ignored."""
        ...

    async def heartbeat(self, worker_id: str, invocation_ids: Sequence[str]) -> tuple[str, ...]:
        """Return those of the ids that are no longer current.

        Invocations that were handed to this worker a while ago and are not in the list are
        lost and offered again.
        """
        ...

    def watch_lost(self, notify: Callable[[str, str], None]) -> None:
        """Call `notify(worker_id, invocation_id)` when an execution ends, durably, without it.

        That is when it was stopped or timed out while an invocation ran. The answer to the worker's
        next heartbeat says the same.
        """
        ...

    async def worker_lost(self, worker_id: str) -> None:
        """Record the invocations of a lost worker as lost, and offer them again.

        Its stream broke, or its heartbeats stopped.
        """
        ...


class History(Protocol):
    """The three ports of the history service."""

    @property
    def commit_delay_s(self) -> float:
        """Return for how long the oldest change has waited for its commit; 0.0 if none waits."""
        ...

    @property
    def commands(self) -> ExecutionCommands:
        """Return the port that changes executions."""
        ...

    @property
    def queries(self) -> HistoryQueries:
        """Return the port that reads executions."""
        ...

    @property
    def invocations(self) -> InvocationCommands:
        """Return the port for workers."""
        ...


class Matching(Protocol):
    """Assigns tasks to free slots of workers. Never blocks, writes nothing."""

    refill: Callable[[], None]
    """Called when a queue that had rejected offers is empty again. Set by history."""

    def is_queued(self, namespace: str, function: str, key: ExecutionKey) -> bool:
        """Return whether the execution is queued, or will be offered again after `refill`."""
        ...

    def queued_starts(self, namespace: str, function: str) -> QueuedStarts | None:
        """Return the starts of a function that wait; None if no worker serves it, or none wait."""
        ...

    def offer(self, task: Task) -> None:
        """Deliver the task at once if a slot is free, queue it otherwise.

        An offer that is queued already is ignored.
        """
        ...

    def attach(
        self, worker_id: str, functions: Sequence[tuple[str, str]], deliver: Callable[[Task], None]
    ) -> None:
        """Add a worker, with the (namespace, function) pairs that it serves.

        Replaces a former connection.
        """
        ...

    def credit(self, worker_id: str, slots: int) -> None:
        """Add free slots. Unknown workers are ignored."""
        ...

    def revoke_credit(self, worker_id: str) -> None:
        """Revoke all credit of the worker (a poll that ended)."""
        ...

    def detach(self, worker_id: str) -> None:
        """Remove the worker."""
        ...

    def workers_of(self, namespace: str, function: str) -> int:
        """Return how many attached workers serve the function."""
        ...


__all__ = [
    "CheckpointAnswer",
    "ExecutionCommands",
    "History",
    "HistoryQueries",
    "InvocationCommands",
    "InvocationOffer",
    "Matching",
    "NumberedEvent",
    "QuarantinedExecution",
    "QuarantinedItem",
    "StartAnswer",
    "StartRequest",
    "StatePage",
    "Task",
    "key_of",
    "key_of_identity",
]
