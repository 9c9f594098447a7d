"""Replay check: whether new code requests the operations of a recorded history.

    replay("order-17.json", order)

`perdure executions export ARN --file order-17.json` writes such a file. Nothing is executed: bodies
of steps do not run, and operations beyond the record suspend. So it can check histories of
executions that are still running, before the code that will continue them is deployed.
"""

import functools
import inspect
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from perdure.context.async_context import AsyncDurableContext
from perdure.context.durable_context import DurableContext
from perdure.exceptions import NonDeterministicExecutionError, qualified_name
from perdure.functions.durable import DurableFunction
from perdure.invocation.fibers import Fiber
from perdure.invocation.scope import Scope
from perdure.operations.identity import Identity, check_recorded
from perdure.primitives.call_site import user_line
from perdure.testing.history import ExecutionHistory
from perdure.testing.hosting import DurableHandler, durable_function
from perdure.testing.recorded_history import (
    RecordedCheckpoints,
    as_replayed,
    is_below_ended_context,
    recorded_state,
)
from perdure.testing.result import InvocationStatus
from perdure.worker_api import (
    Diverged,
    Errored,
    Failed,
    Invocation,
    InvocationEnvironment,
    Lost,
    Outcome,
    Pending,
    Succeeded,
    run_invocation,
)
from perdure_core.model import ErrorObject, Operation, OperationType, OperationUpdate
from perdure_core.state import State
from perdure_core.views import execution_operation, visible_operations

_ENDED_BY_HANDLER: Final = frozenset({"SUCCEEDED", "FAILED"})


class ReplayMismatch(AssertionError):
    """The code does not request what is recorded. `requested` names the line of the call."""

    def __init__(self, message: str, recorded: str, requested: str) -> None:
        super().__init__(f"{message}\n  recorded:  {recorded}\n  requested: {requested}")
        self.recorded = recorded
        self.requested = requested


class ReplayReport(msgspec.Struct, frozen=True):
    """Result of a replay that matches its record.

    PENDING: the code continues beyond the record, or waits for what has not happened yet.
    `not_reached` are recorded operations that it has not requested by then.
    """

    status: InvocationStatus
    result: str | None = None
    error: ErrorObject | None = None
    not_reached: tuple[str, ...] = ()


class RequestedOperation(msgspec.Struct, frozen=True):
    """An operation that the code requested, with the line of the call."""

    identity: Identity
    line: str

    def describe(self) -> str:
        """Return a description for messages."""
        return f"{self.identity.describe()}, at {self.line}"


def replay(history: ExecutionHistory | str | Path, handler: DurableHandler) -> ReplayReport:
    """Run the handler against a history, or the file that holds one.

    Raises `ReplayMismatch` when the code requests another operation than the recorded one, requests
    more than a history that has ended holds, no longer requests a recorded one, or raises where the
    recorded execution succeeded. Raises `DurableFunctionsTestError` for a history that
    cannot be read.
    """
    if not isinstance(history, ExecutionHistory):
        history = ExecutionHistory.load(history)
    state = recorded_state(history)
    requests: dict[str, RequestedOperation] = {}
    checkpoints = RecordedCheckpoints()
    function = _recording(durable_function(handler, state.function), requests)
    outcome = run_invocation(
        function, InvocationEnvironment(_invocation(history, state), checkpoints)
    )
    _check_requests(state, requests)
    _check_outcome(history, outcome)
    if history.status in _ENDED_BY_HANDLER:
        _check_end(history, requests, checkpoints.beyond)
    missing = [
        operation
        for operation in visible_operations(state)
        if operation.id not in requests and not is_below_ended_context(state, operation)
    ]
    if missing and not isinstance(outcome, Pending):
        raise ReplayMismatch(
            "The code no longer requests a recorded operation.",
            _describe(missing[0]),
            _ending(outcome),
        )
    return _report(outcome, tuple(map(_describe, missing)))


class _RecordingScope(Scope):
    """Scope that notes the requested operations."""

    requests: dict[str, RequestedOperation]

    @classmethod
    def over(cls, scope: Scope, requests: dict[str, RequestedOperation]) -> Self:
        recording = cls(
            scope.invocation,
            scope.fiber,
            replaying=scope.replaying,
            prefix=scope.prefix,
            parent_id=scope.parent_id,
            description=scope.description,
            closed=scope.closed,
        )
        recording.requests = requests
        recording._ids = scope._ids  # noqa: SLF001 - one count for both: the outer one sees the end
        return recording

    def identify(self, kind: OperationType, sub_type: str, name: str | None) -> Identity:
        identity = super().identify(kind, sub_type, name)
        self.requests[identity.id] = RequestedOperation(
            identity, user_line(inspect.currentframe()) or "unknown"
        )
        return identity

    def child(self, identity: Identity, *, virtual: bool, fiber: Fiber | None = None) -> Scope:
        if virtual:
            self.requests.pop(identity.id, None)  # virtual contexts are never recorded
        return self.over(super().child(identity, virtual=virtual, fiber=fiber), self.requests)

    def on_fiber(self, fiber: Fiber) -> Scope:
        return self.over(super().on_fiber(fiber), self.requests)


def _recording(
    function: DurableFunction, requests: dict[str, RequestedOperation]
) -> DurableFunction:
    # The scope of a context, and the driver of an async one, are what every call passes through.
    def handler(event: Any, context: DurableContext) -> Any:
        scope = _RecordingScope.over(context._scope, requests)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return scope.run(lambda: function.handler(event, DurableContext(scope)))

    # Without its plugins: what is replayed happened earlier, and was reported then.
    async def async_handler(event: Any, context: AsyncDurableContext) -> Any:
        scope = _RecordingScope.over(context._scope, requests)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        driver = context._driver  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        body = lambda: function.handler(event, AsyncDurableContext(scope, driver))  # noqa: E731
        return await driver.run_body(scope, body)

    if function.is_async:
        functools.update_wrapper(async_handler, function.handler)
        return DurableFunction(async_handler, function.settings)
    functools.update_wrapper(handler, function.handler)
    return DurableFunction(handler, function.settings)


def _invocation(history: ExecutionHistory, state: State) -> Invocation:
    return Invocation(
        invocation_id="replay",
        execution_arn=history.execution_arn,
        function_name=state.function,
        operations=(execution_operation(state), *map(as_replayed, visible_operations(state))),
    )


def _check_requests(state: State, requests: dict[str, RequestedOperation]) -> None:
    for id_, call in requests.items():
        recorded = state.operations.get(id_)
        if recorded is None:
            continue
        try:
            check_recorded(call.identity, recorded)
        except NonDeterministicExecutionError as error:
            raise ReplayMismatch(
                f"Durable call {call.identity.number} does not match the history.",
                _describe(recorded),
                call.describe(),
            ) from error


def _check_outcome(history: ExecutionHistory, outcome: Outcome) -> None:
    if not isinstance(outcome, Failed):
        return
    if outcome.error.type == qualified_name(NonDeterministicExecutionError):
        raise ReplayMismatch(
            "The code does not match the history.",
            f"an execution that is {history.status}",
            outcome.error.message or "",
        )
    if history.status == "SUCCEEDED":
        raise ReplayMismatch(
            "The code fails, and the recorded execution did not.",
            "the execution SUCCEEDED",
            _ending(outcome),
        )


def _check_end(
    history: ExecutionHistory,
    requests: dict[str, RequestedOperation],
    beyond: list[OperationUpdate],
) -> None:
    for update in beyond:
        call = requests.get(update.id)
        raise ReplayMismatch(
            "The code requests more than is recorded.",
            f"the execution {history.status}",
            f"{update.action} of {update.type} {update.name or ''}"
            if call is None
            else call.describe(),
        )


def _report(outcome: Outcome, not_reached: tuple[str, ...]) -> ReplayReport:
    match outcome:
        case Succeeded(result):
            return ReplayReport(InvocationStatus.SUCCEEDED, result)
        case Failed(error) | Errored(error) | Diverged(error):
            return ReplayReport(InvocationStatus.FAILED, None, error)
        case Pending() | Lost():
            return ReplayReport(InvocationStatus.PENDING, not_reached=not_reached)


def _describe(operation: Operation) -> str:
    described_type = f"{operation.type.value} ({operation.sub_type or 'no sub-type'})"
    return described_type if operation.name is None else f"{described_type} {operation.name!r}"


def _ending(outcome: Outcome) -> str:
    match outcome:
        case Succeeded() | Diverged():  # other differences were raised call by call
            return "the handler returns"
        case Failed(error) | Errored(error):
            return f"the handler raises {error.type}: {error.message}"
        case Pending() | Lost():
            return "the handler waits"
