"""State of one invocation: the operations recorded so far, and the checkpoints that record more.

An invocation can end before its handler does: it suspends, is revoked, is lost to another worker,
or meets an error that cannot be repaired. Then its *termination* is fixed: every further durable
call raises control flow at once, and nothing that the handler still returns or raises changes the
outcome. So a handler that catches too much can delay the end, and no more.

A fiber that must wait does so in place while another one keeps the invocation going; when the last
one must wait, the invocation suspends, and all of them unwind.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Final

from perdure.exceptions import (
    ExecutionError,
    InvocationError,
    NonDeterministicExecutionError,
    OrphanedChildException,
    SuspendExecution,
    TerminationReason,
    TimedSuspendExecution,
)
from perdure.invocation.fibers import Fiber, FiberTree
from perdure.invocation.thread_pool import DaemonThreadPool
from perdure.operations.program import Suspend
from perdure.plugins.invocation_plugins import InvocationPlugins
from perdure.primitives.clock import system_now_ms
from perdure.protocol.invocation import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    InvocationEnvironment,
    InvocationLost,
)
from perdure.protocol.outcome import Diverged, Errored, Failed, Lost, Outcome, Pending
from perdure.serdes.error_records import error_record
from perdure_core.model import (
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)

Termination = Failed | Pending | Errored | Diverged | Lost

# A suspended invocation may fail while its last updates are written; a lost one stays lost.
_PRECEDENCE: dict[type[Termination], int] = {
    Pending: 0,
    Failed: 1,
    Errored: 1,
    Diverged: 1,
    Lost: 2,
}

# What the end of an invocation means for its execution, in words.
_ENDS: Final[dict[type[Termination], str]] = {
    Pending: "the execution waits, and goes on in another one",
    Failed: "the execution has failed",
    Errored: "it is run again",
    Diverged: "the execution is paused, since its replay differs from what is recorded",
}

# Types whose starts are remembered until an answer contains the operation.
_TRACED: Final = (OperationType.WAIT, OperationType.CONTEXT)

# Clocks differ a little, and timers may be late: the service is asked again after these times.
REFRESH_S_FIRST: Final = 0.1
REFRESH_S_MAX: Final = 5.0

BRANCH_THREAD_NAME: Final = "perdure-branch"


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class InvocationState:
    """The recorded operations and the checkpoints of one invocation.

    `commit`, `wait_changed`, `pause` and `end` block the calling thread.

    Answers arrive on the worker's thread while the fibers run on others. `lock` guards the
    operations and the waiting fibers; the worker is never called while it is held. `submitting` is
    held while updates are submitted, so that no update of a cancelled branch follows the close of
    its batch.
    `on_operations_changed` is called with the ids of changed operations, and with none when the
    termination is fixed, from any thread and with the lock held.
    """

    def __init__(
        self, environment: InvocationEnvironment, plugins: InvocationPlugins | None = None
    ) -> None:
        invocation, checkpoints = environment.invocation, environment.checkpoints
        self.execution_arn = invocation.execution_arn
        self.result_bytes_max = invocation.result_bytes_max
        self.observer = environment.observer
        self.plugins = plugins
        self.lock = threading.Lock()
        self.submitting = threading.Lock()
        self.fibers = FiberTree(self.lock)
        self.threads = DaemonThreadPool(BRANCH_THREAD_NAME)
        self.now_ms = environment.now_ms
        # This clock is never set, so what took a second took a second. Tests have one clock only.
        self.monotonic_ms = _monotonic_ms if self.now_ms is system_now_ms else self.now_ms
        self._handed_out_ms = invocation.handed_out_ms
        self._began_ms = self.monotonic_ms()
        self._operations = {operation.id: operation for operation in invocation.operations}
        # Open waits; and waits and contexts that start, whose parents say where each one lies.
        self._waits = {id_: each for id_, each in self._operations.items() if _is_open_wait(each)}
        self._starting: dict[str, OperationUpdate] = {}
        self._checkpoints = checkpoints
        self._pid = os.getpid()
        self._unawaited_checkpoints: set[Future[None]] = set()
        self._termination: Termination | None = None
        self.on_operations_changed: Callable[[Iterable[str]], None] = _ignore
        checkpoints.subscribe(self._on_answer)

    @property
    def termination(self) -> Termination | None:
        """How the invocation ends, whatever its handler still does; None while that is open."""
        return self._termination

    @property
    def is_over(self) -> bool:
        """Whether nothing more is recorded: the handler, or else the invocation, has ended."""
        return self._termination is not None or self.fibers.root.cancelled

    def elapsed_since_ms(self, recorded_ms: int) -> int:
        """Return how long ago, at least 0 ms, something was recorded that this invocation found.

        Measured by the service's clock up to the delivery, and by ours from then on, so that a
        difference between the two does not matter; by both clocks only if the service does not
        report when it delivered.
        """
        if self._handed_out_ms is None:
            return max(self.now_ms() - recorded_ms, 0)
        return max(self._handed_out_ms - recorded_ms, 0) + self._running_ms()

    def is_cancelled(self, fiber: Fiber) -> bool:
        """Return whether nothing that the fiber does will be recorded any more."""
        return self._termination is not None or fiber.parked or fiber.cancelled

    def recorded(self, operation_id: str) -> Operation | None:
        """Return the operation as the last answer showed it; None if it is not recorded."""
        return self._operations.get(operation_id)

    def open_waits_of(self, context_id: str) -> list[OperationUpdate]:
        """Return the cancellations of all waits below a context that are open or about to start."""
        with self.submitting, self.lock:
            begun = {id_: each for id_, each in self._starting.items() if _is_wait(each)}
            waits = [
                each for each in (self._waits | begun).values() if self._lies_in(each, context_id)
            ]
        return [
            OperationUpdate(
                id=each.id,
                type=OperationType.WAIT,
                action=OperationAction.CANCEL,
                parent_id=each.parent_id,
                name=each.name,
                sub_type=each.sub_type,
            )
            for each in waits
        ]

    def send(self, fiber: Fiber, update: OperationUpdate, *, urgent: bool = False) -> Future[None]:
        """Record `update` without waiting. A failure ends the invocation when it becomes known."""
        future = self.submit(fiber, update, urgent=urgent)
        with self.lock:
            self._unawaited_checkpoints.add(future)
        future.add_done_callback(self._note_end)
        return future

    def send_if_open(self, fiber: Fiber, update: OperationUpdate) -> Future[None] | None:
        """Record `update` at once, without waiting; None when nothing can be recorded any more."""
        try:
            return self.send(fiber, update, urgent=True)
        except (InvocationLost, SuspendExecution, OrphanedChildException):
            return None

    def commit(self, fiber: Fiber, update: OperationUpdate) -> Operation:
        """Record `update`, wait until it is durable, and return its operation as it stands then.

        Raises what `require_open` does; `ExecutionError` and `InvocationError` when it was not
        recorded.
        """
        _wait(self.submit(fiber, update, urgent=True))
        return self.recorded_operation(fiber, update)

    def recorded_operation(self, fiber: Fiber, update: OperationUpdate) -> Operation:
        """Return the operation of `update`, which is recorded; raises as `commit` does."""
        self.require_open(fiber)
        operation = self._operations.get(update.id)
        if operation is None:
            raise InvocationError(
                f"The service accepted operation {update.id}, but its answer does not contain it."
            )
        return operation

    def wait_changed(self, fiber: Fiber, waiting: Suspend) -> Operation:
        """Wait until the status of an operation differs from the one in `waiting`, and return it.

        Raises `SuspendExecution` when no fiber has anything to do meanwhile: the invocation ends,
        and the execution goes on when something has changed. Raises it at once in a fiber that
        parks.
        """
        timeout_s = self.seconds_until(waiting.until_ms)
        refresh_s = REFRESH_S_FIRST
        while True:
            operation = self._wait_changed(fiber, waiting, timeout_s)
            if operation is not None:
                return operation
            _wait(self.refresh())
            timeout_s, refresh_s = refresh_s, min(2 * refresh_s, REFRESH_S_MAX)

    def refresh(self) -> Future[None]:
        """Request the operations that have changed."""
        return self._checkpoints.submit((), urgent=True)

    def suspend(self, waits: Iterable[Suspend]) -> None:
        """End the idle invocation, unless one of `waits` is over."""
        with self.lock:
            if all(self._operations[each.operation_id].status is each.seen for each in waits):
                self._terminate(Pending())

    def pause(self, fiber: Fiber, waiting: Suspend | None, timeout_s: float | None) -> None:
        """Wait, with the lock held, until the fiber's condition is notified or time is up.

        Raises as `wait_changed` does.
        """
        self.fibers.pause(fiber, None if waiting is None else waiting.operation_id)
        if not self.fibers.running:
            self._terminate(Pending())
            raise _suspension(waiting)
        fiber.condition.wait(timeout_s)
        self.fibers.wake(fiber)

    def require_open(self, fiber: Fiber) -> None:
        """Raise `InvocationLost` or `SuspendExecution` when the invocation has ended.

        Raises `SuspendExecution` when the fiber is parked, `OrphanedChildException` when it is
        cancelled.
        """
        match self._termination:
            case None:
                pass
            case Lost():
                raise InvocationLost
            case Pending() | Failed() | Errored() | Diverged() as termination:
                raise SuspendExecution(f"This invocation has ended: {_ENDS[type(termination)]}.")
        if self.fibers.root.cancelled:
            raise OrphanedChildException(
                "This invocation has ended: its handler has returned or raised.", fiber.operation_id
            )
        if fiber.parked:
            raise SuspendExecution("This branch continues in the next invocation.")
        if fiber.cancelled:
            raise OrphanedChildException(
                "The context of this call is complete without it.", fiber.operation_id
            )

    def terminate(self, end: Termination) -> None:
        """Fix how the invocation ends; a later end counts only if it takes precedence."""
        with self.lock:
            self._terminate(end)

    def terminate_on(self, fiber: Fiber, error: BaseException) -> None:
        """End the invocation if `error` cannot be repaired and the fiber is not cancelled."""
        end = termination_for(error)
        if end is not None and (not fiber.cancelled or isinstance(end, Lost)):
            self.terminate(end)

    def end(self, handler_end: Outcome) -> Outcome:
        """Stop running branches, wait for open checkpoints, and return how the invocation ended."""
        self.close()
        self.threads.wait_ended()
        try:
            for future in self.pending_checkpoints():
                _wait(future)
        except (InvocationLost, ExecutionError, InvocationError) as error:
            self.terminate(termination_for(error) or Pending())
        return self._termination or handler_end

    def close(self) -> None:
        """Record nothing more of the handler: whatever it has left behind meets the end."""
        with self.submitting, self.lock:
            self.fibers.root.cancelled = True
            self.fibers.cancel_children(self.fibers.root)

    def pending_checkpoints(self) -> Iterator[Future[None]]:
        """Yield the checkpoints that must be recorded before the invocation may end."""
        if isinstance(self._termination, Lost | Errored | Diverged):
            return
        with self.lock:
            unawaited = tuple(self._unawaited_checkpoints)
        if not all(future.done() for future in unawaited):
            yield self.refresh()
            yield from unawaited

    def cancel_children(self, fiber: Fiber) -> None:
        """Cancel all branches of `fiber`: each stops at its next durable call, unrecorded."""
        with self.submitting, self.lock:
            self.fibers.cancel_children(fiber)

    def _wait_changed(
        self, fiber: Fiber, waiting: Suspend, timeout_s: float | None
    ) -> Operation | None:
        with self.lock:
            self.require_open(fiber)
            operation = self._operations[waiting.operation_id]
            if operation.status is waiting.seen:
                if fiber.parks:
                    fiber.parked = True
                    raise _suspension(waiting)
                self.pause(fiber, waiting, timeout_s)
                self.require_open(fiber)
                operation = self._operations[waiting.operation_id]
            return None if operation.status is waiting.seen else operation

    def seconds_until(self, until_ms: int | None) -> float | None:
        """Return the seconds until then, at least 0, by the clock of the service's timers.

        It is measured as in `elapsed_since_ms`: the wall clock here may be wrong, or be set.
        """
        if until_ms is None:
            return None
        if self._handed_out_ms is None:
            now_ms = self.now_ms()
        else:
            now_ms = self._handed_out_ms + self._running_ms()
        return min(max((until_ms - now_ms) / 1_000, 0), threading.TIMEOUT_MAX)

    def _running_ms(self) -> int:
        """Return for how long this invocation has been running."""
        return self.monotonic_ms() - self._began_ms

    def submit(self, fiber: Fiber, update: OperationUpdate, *, urgent: bool) -> Future[None]:
        """Submit `update` to the worker; see `checkpoint_error` for the errors of the future.

        Raises RuntimeError in a forked process, before it waits for a lock that may be held there.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"a forked process can record nothing: the context belongs to process {self._pid}."
                " Hand what it makes to that process, and make durable calls there."
            )
        with self.submitting:
            self.require_open(fiber)
            if update.action is OperationAction.START and update.type in _TRACED:
                with self.lock:
                    self._starting[update.id] = update
            return self._checkpoints.submit([update], urgent=urgent)

    def _lies_in(self, each: Operation | OperationUpdate, context_id: str) -> bool:
        above = each.parent_id
        while above is not None and above != context_id:
            known = self._operations.get(above) or self._starting.get(above)
            above = None if known is None else known.parent_id
        return above is not None

    def _terminate(self, end: Termination) -> None:
        if (
            self._termination is None
            or _PRECEDENCE[type(end)] > _PRECEDENCE[type(self._termination)]
        ):
            self._termination = end
        self.fibers.wake_all()
        self.on_operations_changed(())

    def _on_answer(self, answer: CheckpointAnswer) -> None:
        changed = {operation.id: operation for operation in answer.operations}
        if self.plugins is not None:
            self.plugins.update(answer.operations)
        with self.lock:
            self._operations.update(changed)
            self._track_waits(answer.operations)
            self.fibers.wake_for(changed)
            self.on_operations_changed(changed)
            if answer.revoked:
                self._terminate(Pending())
            if answer.lost:
                self._terminate(Lost())

    def _track_waits(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self._starting.pop(operation.id, None)
            if _is_open_wait(operation):
                self._waits[operation.id] = operation
            else:
                self._waits.pop(operation.id, None)

    def _note_end(self, future: Future[None]) -> None:
        error = future.exception()
        end = None if error is None else termination_for(checkpoint_error(error))
        if end is not None:  # also when the handler has ended meanwhile
            self.terminate(end)
        with self.lock:
            self._unawaited_checkpoints.discard(future)


def termination_for(error: BaseException) -> Termination | None:
    """Return how `error` ends the invocation; None if the handler may go on after it."""
    match error:
        case InvocationLost():
            return Lost()
        case InvocationError() if error.is_retryable():
            return Errored(error_record(error))
        case NonDeterministicExecutionError():
            return Diverged(error_record(error))
        case ExecutionError() | InvocationError():
            return Failed(error_record(error))
        case _:
            return None


def _is_wait(each: Operation | OperationUpdate) -> bool:
    return each.type is OperationType.WAIT


def _is_open_wait(operation: Operation) -> bool:
    return _is_wait(operation) and operation.status is OperationStatus.STARTED


def _ignore(_: Iterable[str]) -> None:
    """Do nothing."""


def _suspension(waiting: Suspend | None) -> SuspendExecution:
    if waiting is None:
        return SuspendExecution("All branches wait.")
    if waiting.until_ms is None:
        return SuspendExecution(waiting.reason)
    return TimedSuspendExecution(waiting.reason, waiting.until_ms / 1_000)


def _wait(future: Future[None]) -> None:
    # The worker resolves every future: it owns the deadlines of the calls behind them.
    try:
        future.result()
    except (CheckpointRefused, CheckpointUnavailable) as error:
        raise checkpoint_error(error) from error


def checkpoint_error(error: BaseException) -> BaseException:
    """Return the exception that a failed checkpoint raises where it is awaited."""
    match error:
        case CheckpointRefused():
            return ExecutionError(
                f"The service refused a checkpoint: {error.message}",
                TerminationReason.CHECKPOINT_FAILED,
            )
        case CheckpointUnavailable():
            return InvocationError(
                f"A checkpoint could not be recorded: {error}", TerminationReason.CHECKPOINT_FAILED
            )
        case _:
            return error
