"""The real core in memory: whole executions run against it, on a clock that tests advance.

It plays service and worker at once: what a handler records is decided and folded by the core,
operations travel as copies, an answer leaves out the results that its own call carried, and the
record alone survives an invocation. A `Crash` loses the worker at the n-th checkpoint, before or
after the service has accepted it.
"""

import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from perdure.context import DurableContext
from perdure.context.async_context import AsyncDurableContext
from perdure.execution import DurableFunction
from perdure.plugins.loading import Factories
from perdure.testing.worker import completion, copied
from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    FunctionSettings,
    Invocation,
    InvocationEnvironment,
    InvocationLost,
    Outcome,
    RegisteredFunction,
    run_invocation,
)
from perdure_core import commands, execution
from perdure_core.events import Event, Record, is_public
from perdure_core.fold import apply
from perdure_core.identity import ExecutionIdentity, arn_of
from perdure_core.model import (
    CallbackDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)
from perdure_core.refusals import Invalid
from perdure_core.state import State, is_open, wants_task
from perdure_core.views import execution_operation, visible_operations

INVOCATIONS_MAX = 1_000


# As the SDK of AWS does, so that results which are made again cost little to test.
RESULT_BYTES_MAX = 262_144


@dataclass(frozen=True)
class Crash:
    """Lose the worker at the n-th checkpoint of the execution, counted from 1."""

    checkpoint: int
    accepted: bool


@dataclass
class Counts:
    """An observer: what the worker would put into its metrics."""

    replayed: int = 0
    steps: list[str] = field(default_factory=list[str])

    def operation_replayed(self) -> None:
        self.replayed += 1

    def step_finished(self, outcome: Literal["succeeded", "failed", "retried"]) -> None:
        self.steps.append(outcome)


class Hosted:
    """One execution of one function."""

    def __init__(
        self,
        function: RegisteredFunction,
        payload: str | None = None,
        crashes: Collection[Crash] = (),
        targets: Collection[str] = (),
        result_bytes_max: int = RESULT_BYTES_MAX,
    ) -> None:
        self.result_bytes_max = result_bytes_max
        self.function = function
        self.targets = dict.fromkeys(targets, True)
        self.crashes = {crash.checkpoint: crash for crash in crashes}
        self.now_ms = 1_000_000
        self.worker_ahead_ms = 0
        self.lock = threading.RLock()
        self.counts = Counts()
        self.outcomes: list[Outcome] = []
        self.calls: list[tuple[OperationUpdate, ...]] = []
        self.records: list[Record] = []
        identity = ExecutionIdentity("test", function.settings.name, "one", "0f")
        self.arn = arn_of(identity)
        start = commands.Start(
            **msgspec.structs.asdict(identity),
            timeout_s=function.settings.execution_timeout_s,
            retention_days=function.settings.retention_days,
            input=payload,
        )
        self.records.append(execution.begin(start, self.now_ms))
        self.state: State = apply(None, self.records[0])

    def run(self) -> Outcome:
        """Run invocations until the execution waits for time or an outsider, or has ended."""
        while wants_task(self.state):
            assert len(self.outcomes) < INVOCATIONS_MAX, "the execution goes round in circles"
            self.deliver()
        return self.outcomes[-1]

    def finish(self) -> Outcome:
        """Run to the end; whenever the execution waits for time, advance the clock at once."""
        self.run()
        while is_open(self.state):
            self.pass_time()
            self.run()
        return self.outcomes[-1]

    def pass_time(self) -> None:
        """Advance the clock to the next timer."""
        due_ms = self.state.alarms.next_due_ms()
        assert due_ms is not None, "nothing is due, ever"
        self.now_ms = max(self.now_ms, due_ms)
        self.command(commands.AlarmDue())

    def command(self, command: commands.Command) -> None:
        """Apply a command in the core and record its decision."""
        with self.lock:
            record = execution.decide(self.state, command, self.now_ms).record
            if record is not None:
                self.records.append(record)
                apply(self.state, record)

    def deliver(self) -> Outcome:
        """Run one invocation, and report its end to the core."""
        invocation_id = f"invocation-{len(self.outcomes) + 1}"
        checkpoints = InMemoryCheckpoints(self, invocation_id)
        operations = [execution_operation(self.state), *visible_operations(self.state)]
        invocation = Invocation(
            invocation_id=invocation_id,
            execution_arn=self.arn,
            function_name=self.function.settings.name,
            operations=tuple(copied(operation) for operation in operations),
            updated_operation_ids=tuple(self.state.unseen),
            first=not self.outcomes,
            deadline_ms=self.state.deadline_ms,
            handed_out_ms=self.now_ms,
            trace_header=self.state.trace_header,
            result_bytes_max=self.result_bytes_max,
        )
        outcome = run_invocation(
            self.function,
            InvocationEnvironment(
                invocation,
                checkpoints,
                observer=self.counts,
                now_ms=lambda: self.now_ms + self.worker_ahead_ms,
            ),
        )
        self.outcomes.append(outcome)
        self.command(completion(outcome, checkpoints.token))
        return outcome

    def open_callback(self) -> Operation:
        """Return the open callback."""
        return next(
            operation
            for operation in self.state.operations.values()
            if operation.type is OperationType.CALLBACK
            and operation.status is OperationStatus.STARTED
        )

    def succeed_callback(self, result: str | None) -> None:
        """Complete the open callback."""
        id_ = self.open_callback().id
        self.command(commands.CompleteCallback(operation_id=id_, succeeded=True, result=result))

    def open_invoke(self) -> Operation:
        """Return the chained invoke whose execution has not ended."""
        return next(
            operation
            for operation in self.state.operations.values()
            if operation.type is OperationType.CHAINED_INVOKE
            and operation.status is OperationStatus.STARTED
        )

    def end_invoke(
        self,
        status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"],
        result: str | None = None,
        error: ErrorObject | None = None,
    ) -> None:
        """End the execution that the open chained invoke started."""
        id_ = self.open_invoke().id
        self.command(
            commands.ChildEnded(operation_id=id_, status=status, result=result, error=error)
        )

    def fail_callback(self, error: ErrorObject) -> None:
        """Complete the open callback as failed."""
        id_ = self.open_callback().id
        self.command(commands.CompleteCallback(operation_id=id_, succeeded=False, error=error))

    @property
    def history(self) -> list[str]:
        """The public events, by type."""
        return [type(event).__name__ for event in self.events if is_public(event)]

    @property
    def ends(self) -> list[tuple[str, str | None]]:
        """The ends of operations as (type of event, name of operation), sorted."""
        return sorted(
            (
                (type(event).__name__, getattr(getattr(event, "subject", None), "name", None))
                for event in self.events
                if type(event).__name__.endswith(("Succeeded", "Failed", "TimedOut", "Stopped"))
            ),
            key=str,
        )

    @property
    def events(self) -> list[Event]:
        """All events, in order."""
        return [event for record in self.records for event in record.events]

    @property
    def updates(self) -> list[str]:
        """The handler's updates so far, as ACTION of TYPE, one list over all calls."""
        return [f"{update.action} {update.type}" for call in self.calls for update in call]


class InMemoryCheckpoints:
    """Applies urgent checkpoints at once; the others wait for an urgent one.

    Branches call from several threads; one call is answered before the next one is taken.
    """

    def __init__(self, host: Hosted, invocation_id: str) -> None:
        self._host = host
        self._lost = False
        self._waiting: list[tuple[Sequence[OperationUpdate], Future[None]]] = []
        self._listener: Callable[[CheckpointAnswer], None] | None = None
        self.token = execution.current_token(host.state, invocation_id, host.now_ms)

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        self._listener = listener

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> Future[None]:
        future: Future[None] = Future()
        with self._host.lock:
            self._waiting.append((updates, future))
            if urgent:
                self._flush()
        return future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._call(tuple(update for updates, _ in waiting for update in updates))
        except Invalid as refusal:
            self._resolve(waiting, CheckpointRefused(str(refusal)))
        except InvocationLost as lost:
            self._resolve(waiting, lost)
        else:
            self._resolve(waiting, None)

    def _call(self, updates: tuple[OperationUpdate, ...]) -> None:
        host, number = self._host, len(self._host.calls) + 1
        crash = host.crashes.get(number)
        if self._lost or (crash and not crash.accepted):
            self._lost = True
            host.calls.append(())
            raise InvocationLost
        host.command(checkpoint(self.token, number, updates, host.targets))
        host.calls.append(updates)
        changed = [] if host.state.last_call is None else list(host.state.last_call.changed)
        self.token = execution.current_token(
            host.state, self.token.invocation_id, self.token.started_ms
        )
        if crash:
            self._lost = True
            raise InvocationLost
        answer = tuple(as_reported(host.state.operations[id_], updates) for id_ in changed)
        assert self._listener is not None
        self._listener(CheckpointAnswer(answer, host.state.revoked))

    def _resolve(
        self,
        waiting: list[tuple[Sequence[OperationUpdate], Future[None]]],
        error: BaseException | None,
    ) -> None:
        for _, future in waiting:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def checkpoint(
    token: commands.CheckpointToken,
    number: int,
    updates: tuple[OperationUpdate, ...],
    targets: Mapping[str, bool],
) -> commands.Checkpoint:
    """Return the command; callback ids come from the number of the call."""
    starts = [update.id for update in updates if update.type is OperationType.CALLBACK]
    return commands.Checkpoint(
        token=token,
        client_token=f"call-{number}",
        updates=updates,
        callback_ids={id_: f"callback-{number}-{place}" for place, id_ in enumerate(starts)},
        targets=targets,
    )


def as_reported(operation: Operation, updates: tuple[OperationUpdate, ...]) -> Operation:
    """Return a copy without the result or error that the call itself carried."""
    answer = copied(operation)
    carried = any(
        update.id == operation.id
        and update.action not in (OperationAction.START, OperationAction.HEARTBEAT)
        for update in updates
    )
    if carried and isinstance(answer.details, StepDetails | ContextDetails):
        answer.details.result = answer.details.error = None
    return answer


def callback_id(operation: Operation) -> str:
    """Return the secret of a callback."""
    assert isinstance(operation.details, CallbackDetails)
    return operation.details.callback_id


def handler(body: Callable[[Any, DurableContext], Any], plugins: Factories = ()) -> DurableFunction:
    """Make a durable function of any callable."""
    return DurableFunction(body, FunctionSettings("under-test"), plugins=plugins)


def async_handler(
    body: Callable[[Any, AsyncDurableContext], Coroutine[Any, Any, Any]], plugins: Factories = ()
) -> DurableFunction:
    """Make a durable function of any coroutine function."""
    return DurableFunction(body, FunctionSettings("under-test"), plugins=plugins)


def hosted_async(body: Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]) -> Hosted:
    """Return an execution of an async handler that ignores its event."""

    async def handle(_event: Any, context: AsyncDurableContext) -> Any:
        return await body(context)

    return Hosted(async_handler(handle))
