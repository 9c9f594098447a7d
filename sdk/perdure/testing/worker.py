"""Worker of the testing kit: runs one invocation in a thread, and applies its checkpoints.

Updates that are not awaited are sent with the next checkpoint that is, so the same program makes
the same checkpoints in every run. A worker can be crashed here, and an invocation be ended early so
that the handler is replayed.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import msgspec

from perdure.testing.hosting import Execution
from perdure.testing.service import InMemoryService
from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    Diverged,
    Errored,
    Failed,
    Invocation,
    InvocationEnvironment,
    InvocationLost,
    Lost,
    Outcome,
    Pending,
    Succeeded,
    run_invocation,
)
from perdure_core import commands, execution, refusals
from perdure_core.commands import CompletionStatus
from perdure_core.limits import CHECKPOINT_BYTES_MAX, CHECKPOINT_UPDATES_MAX
from perdure_core.model import (
    ACTIONS_OPEN,
    ErrorObject,
    Operation,
    OperationType,
    OperationUpdate,
    StepDetails,
)
from perdure_core.payload import bytes_of
from perdure_core.views import changed_operations, execution_operation, visible_operations

# Leaves room for errors, which are small, and for fields other than payloads.
BATCH_BYTES_MAX: Final = CHECKPOINT_BYTES_MAX // 2

Waiting = tuple[Sequence[OperationUpdate], Future[None]]


def run_invocation_of(service: InMemoryService, target: Execution) -> None:
    """Run one invocation of an execution."""
    with service.changed:
        target.invocations += 1
        invocation_id = f"invocation-{target.invocations}"
        token = execution.current_token(target.state, invocation_id, service.clock.now_ms())
        checkpoints = InMemoryCheckpoints(service, target, token)
        target.on_lost = checkpoints.lose
        invocation = _invocation(service, target, invocation_id)
    outcome = run_invocation(
        target.function, InvocationEnvironment(invocation, checkpoints, now_ms=service.clock.now_ms)
    )
    with service.changed:
        target.on_lost = None
    with suppress(refusals.StaleToken):  # it was stopped meanwhile
        service.returned(target, checkpoints.ending(outcome))


class InMemoryCheckpoints:
    """The checkpoints of one invocation: urgent ones are applied at once, with all before them."""

    def __init__(
        self, service: InMemoryService, target: Execution, token: commands.CheckpointToken
    ) -> None:
        self._service = service
        self._target = target
        self._token = token
        self._waiting: list[Waiting] = []
        self._listener: Callable[[CheckpointAnswer], None] | None = None
        self._bodies: set[str] = set()
        self._lost = False
        self._ended_early = False

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        self._listener = listener

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> Future[None]:
        future: Future[None] = Future()
        with self._service.changed:
            self._waiting.append((updates, future))
            if urgent:
                waiting, self._waiting = self._waiting, []
                for batch in _batches(waiting):
                    self._record(batch)
        return future

    def lose(self) -> None:
        """Notify the handler that nothing more can be recorded."""
        if self._listener is not None:
            self._listener(CheckpointAnswer((), revoked=False, lost=True))

    def ending(self, outcome: Outcome) -> commands.Command:
        """Return the command that ends the invocation at the service."""
        if self._ended_early and isinstance(outcome, Pending):
            return commands.HandBack(self._token)
        return completion(outcome, self._token)

    def _record(self, batch: list[Waiting]) -> None:
        error: BaseException | None = None
        try:
            self._call(tuple(update for updates, _ in batch for update in updates))
        except refusals.StaleToken:
            error = InvocationLost()
        except InvocationLost as lost:
            error = lost
        except refusals.Invalid as refusal:
            error = CheckpointRefused(str(refusal))
        for _, future in batch:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _call(self, updates: tuple[OperationUpdate, ...]) -> None:
        service, target = self._service, self._target
        if self._lost or service.closed:
            raise InvocationLost
        if not service.clock.skips:
            service.fire_due()
        if not updates and not target.state.unseen:
            return
        crash = target.crashes.pop(target.checkpoints + 1, None) if updates else None
        self._lost = crash is not None
        if crash is not None and not crash.accepted:
            raise InvocationLost
        service.command(target, self._command(updates))
        target.checkpoints += bool(updates)
        self._token = execution.current_token(
            target.state, self._token.invocation_id, self._token.started_ms
        )
        if crash is not None:
            raise InvocationLost
        self._answer(updates)

    def _command(self, updates: tuple[OperationUpdate, ...]) -> commands.Checkpoint:
        service, target = self._service, self._target
        starts = [update.id for update in updates if update.type is OperationType.CALLBACK]
        callback_ids = {id_: f"{target.identity.execution_id[:8]}-{id_[:24]}" for id_ in starts}
        for operation_id, callback_id in callback_ids.items():
            service.callbacks[callback_id] = (target, operation_id)
        functions = {update.function for update in updates if update.function is not None}
        return commands.Checkpoint(
            token=self._token,
            client_token=f"turn-{self._token.number}",
            updates=updates,
            callback_ids=callback_ids,
            targets={function: function in service.functions for function in functions},
        )

    def _answer(self, updates: tuple[OperationUpdate, ...]) -> None:
        state = self._target.state
        self._ended_early = self._ended_early or self._ends_early(updates)
        closed = {each.id for each in updates if each.action not in ACTIONS_OPEN}
        operations = tuple(
            _without_result(operation, closed) for operation in changed_operations(state)
        )
        assert self._listener is not None
        self._listener(CheckpointAnswer(operations, revoked=state.revoked or self._ended_early))

    def _ends_early(self, updates: tuple[OperationUpdate, ...]) -> bool:
        """Return whether to end the invocation here, so that the handler is replayed.

        Not while bodies of steps run in other branches, so that each runs as often as without this.
        """
        for update in updates:
            if update.type is OperationType.STEP and update.action in ACTIONS_OPEN:
                self._bodies.add(update.id)
            else:
                self._bodies.discard(update.id)
        return self._service.always_replay and bool(updates) and not self._bodies


def _invocation(service: InMemoryService, target: Execution, invocation_id: str) -> Invocation:
    state = target.state
    operations = [execution_operation(state), *visible_operations(state)]
    return Invocation(
        invocation_id=invocation_id,
        execution_arn=target.arn,
        function_name=target.identity.function,
        operations=tuple(copied(operation) for operation in operations),
        updated_operation_ids=tuple(state.unseen),
        first=target.invocations == 1,
        deadline_ms=state.deadline_ms,
        result_bytes_max=service.result_bytes_max,
        tenant_id=state.tenant_id,
        handed_out_ms=service.clock.now_ms(),
        trace_header=state.trace_header,
    )


def completion(outcome: Outcome, token: commands.CheckpointToken) -> commands.Complete:
    """Return the command with which the worker, or the service for it, ends an invocation."""
    match outcome:
        case Succeeded(result):
            return commands.Complete(token=token, status=CompletionStatus.SUCCEEDED, result=result)
        case Failed(error):
            return commands.Complete(token=token, status=CompletionStatus.FAILED, error=error)
        case Pending():
            return commands.Complete(token=token, status=CompletionStatus.PENDING)
        case Errored(error):
            return commands.Complete(token=token, status=CompletionStatus.ERROR, error=error)
        case Diverged(error):
            return commands.Complete(token=token, status=CompletionStatus.DIVERGED, error=error)
        case Lost():
            lost = ErrorObject("The worker was lost.", "Runtime.ExitError")
            return commands.Complete(token=token, status=CompletionStatus.ERROR, error=lost)


def _batches(waiting: list[Waiting]) -> Iterator[list[Waiting]]:
    """Yield the updates of one call each; there is at least one."""
    batch: list[Waiting] = []
    count = size = 0
    for updates, future in waiting:
        bytes_more = sum(bytes_of(update.payload) for update in updates)
        full = count + len(updates) > CHECKPOINT_UPDATES_MAX or size + bytes_more > BATCH_BYTES_MAX
        if batch and full:
            yield batch
            batch, count, size = [], 0, 0
        batch.append((updates, future))
        count, size = count + len(updates), size + bytes_more
    yield batch


def copied(operation: Operation) -> Operation:
    """Return a copy, as sending the operation would make one."""
    return msgspec.structs.replace(operation, details=copy.copy(operation.details))


def _without_result(operation: Operation, closed: set[str]) -> Operation:
    """Return a copy without the result or error that the call itself sent, as the service does."""
    answer = copied(operation)
    if operation.id in closed and isinstance(answer.details, StepDetails):
        answer.details.result = answer.details.error = None
    return answer
