"""One invocation's hold on its execution: what is recorded, and the way to record more.

A turn can end before the handler does: it suspends, is revoked, passes to another worker, or meets
something that cannot be repaired. Then its end is *settled*: every further durable call raises
control flow at once, and nothing that the handler still returns or raises changes the outcome. So a
handler that catches too much can delay the end, and no more.

A strand that has to wait does so in place while another one keeps the invocation going; when the
last one has to wait, the invocation suspends, and all of them unwind.
"""

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
from perdure.invocation.fibers import Strand, Strands
from perdure.invocation.thread_pool import BranchThreads
from perdure.operations.program import Suspend
from perdure.plugins.invocation_plugins import InvocationPlugins
from perdure.protocol.invocation import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    CheckpointWriter,
    Invocation,
    InvocationEnvironment,
    InvocationLost,
    InvocationObserver,
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

Settled = Failed | Pending | Errored | Diverged | Lost

# A suspended turn may prove broken while its last updates are written; a passed one has no say.
_WEIGHT: dict[type[Settled], int] = {Pending: 0, Failed: 1, Errored: 1, Diverged: 1, Lost: 2}

# Starts that are remembered until an answer brings the operation.
_TRACED: Final = (OperationType.WAIT, OperationType.CONTEXT)

# Clocks differ a little, and timers may be late: asked again after these times.
REFRESH_S_FIRST: Final = 0.1
REFRESH_S_MAX: Final = 5.0


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def system_now_ms() -> int:
    """Return the time of this machine, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Turn:
    """The recorded operations and the checkpoints of one invocation; blocks the calling thread.

    Answers arrive on the worker's thread while the strands run on others. `lock` guards what is
    known and who waits; nobody calls the worker while holding it. `submitting` is held while
    something is submitted, so that nothing of an abandoned branch follows the close of its batch.
    `on_change` is called with the ids of changed operations, and with none when the end is settled,
    from any thread and with the lock held.
    """

    def __init__(
        self,
        invocation: Invocation,
        checkpoints: CheckpointWriter,
        observer: InvocationObserver | None = None,
        now_ms: Callable[[], int] = system_now_ms,
        plugins: InvocationPlugins | None = None,
    ) -> None:
        self.execution_arn = invocation.execution_arn
        self.result_bytes_max = invocation.result_bytes_max
        self.observer = observer
        self.plugins = plugins
        self.lock = threading.Lock()
        self.submitting = threading.Lock()
        self.strands = Strands(self.lock)
        self.threads = BranchThreads()
        self.now_ms = now_ms
        # Nobody sets this clock, so what took a second took a second. Tests have one clock only.
        self.ticks_ms = _steady_ms if now_ms is system_now_ms else now_ms
        self._handed_out_ms = invocation.handed_out_ms
        self._began_ms = self.ticks_ms()
        self._operations = {operation.id: operation for operation in invocation.operations}
        # Waits that are open, or begin; and contexts that begin, which say what lies in what.
        self._waits = {id_: each for id_, each in self._operations.items() if _is_open_wait(each)}
        self._begun: dict[str, OperationUpdate] = {}
        self._checkpoints = checkpoints
        self._unawaited: list[Future[None]] = []
        self._settled: Settled | None = None
        self.on_change: Callable[[Iterable[str]], None] = _ignore
        checkpoints.subscribe(self._learn)

    @classmethod
    def of(
        cls, delivered: InvocationEnvironment, plugins: InvocationPlugins | None = None
    ) -> "Turn":
        """Return the turn of what a worker delivers."""
        return cls(
            delivered.invocation,
            delivered.checkpoints,
            delivered.observer,
            delivered.now_ms,
            plugins,
        )

    @property
    def settled(self) -> Settled | None:
        """How the invocation ends, whatever its handler still does."""
        return self._settled

    def since_ms(self, recorded_ms: int) -> int:
        """Return how long ago, at least 0 ms, something was recorded that this invocation found.

        By the service's clock up to the delivery, and by ours from then on, so that it does not
        matter how far the two are apart; only if the service does not say when it delivered, it is
        by the two.
        """
        if self._handed_out_ms is None:
            return max(self.now_ms() - recorded_ms, 0)
        running_ms = self.ticks_ms() - self._began_ms
        return max(self._handed_out_ms - recorded_ms, 0) + running_ms

    def is_over(self, strand: Strand) -> bool:
        """Tell whether nothing that the strand does will be recorded any more."""
        return self._settled is not None or strand.parked or strand.abandoned

    def recorded(self, operation_id: str) -> Operation | None:
        """Return the operation as last heard of."""
        return self._operations.get(operation_id)

    def open_waits_below(self, context_id: str) -> list[OperationUpdate]:
        """Return the cancellations of all waits that are open below a context, or begin there."""
        with self.submitting, self.lock:
            begun = {id_: each for id_, each in self._begun.items() if _is_wait(each)}
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

    def send(
        self, strand: Strand, update: OperationUpdate, *, urgent: bool = False
    ) -> Future[None]:
        """Record `update` without waiting. A failure settles the turn when it becomes known."""
        future = self.submit(strand, update, urgent=urgent)
        with self.lock:
            self._unawaited = [other for other in self._unawaited if not other.done()]
            self._unawaited.append(future)
        future.add_done_callback(self._note_failure)
        return future

    def send_if_open(self, strand: Strand, update: OperationUpdate) -> Future[None] | None:
        """Record `update` at once, without waiting; None when nothing can be recorded any more."""
        try:
            return self.send(strand, update, urgent=True)
        except (InvocationLost, SuspendExecution, OrphanedChildException):
            return None

    def commit(self, strand: Strand, update: OperationUpdate) -> Operation:
        """Record `update`, wait until it is durable, and return its operation as it stands then.

        Raises what `require_open` does; `ExecutionError` and `InvocationError` when it was not
        recorded.
        """
        _wait(self.submit(strand, update, urgent=True))
        return self.committed(strand, update)

    def committed(self, strand: Strand, update: OperationUpdate) -> Operation:
        """Return how the operation of `update`, which is recorded, stands; raises as `commit`."""
        self.require_open(strand)
        operation = self._operations.get(update.id)
        if operation is None:
            raise InvocationError(
                f"The service accepted {update.id} and did not say how it stands."
            )
        return operation

    def wait_changed(self, strand: Strand, waiting: Suspend) -> Operation:
        """Return an operation as soon as its status is another one than the strand has seen.

        Raises `SuspendExecution` when no strand has anything to do meanwhile: the invocation ends,
        and the execution goes on when something has changed. Raises it at once in a strand that
        parks.
        """
        timeout_s = self.left_s(waiting.until_ms)
        refresh_s = REFRESH_S_FIRST
        while True:
            operation = self._wait_changed(strand, waiting, timeout_s)
            if operation is not None:
                return operation
            _wait(self.refresh())
            timeout_s, refresh_s = refresh_s, min(2 * refresh_s, REFRESH_S_MAX)

    def refresh(self) -> Future[None]:
        """Ask the service what has changed."""
        return self._checkpoints.submit((), urgent=True)

    def suspend(self, waits: Iterable[Suspend]) -> None:
        """End the invocation, which can do nothing, unless one of `waits` is over."""
        with self.lock:
            if all(self._operations[each.operation_id].status is each.seen for each in waits):
                self._settle(Pending())

    def pause(self, strand: Strand, waiting: Suspend | None, timeout_s: float | None) -> None:
        """Let a strand wait, with the lock held, until its bell rings or time is up.

        Raises as `wait_changed` does.
        """
        self.strands.pause(strand, None if waiting is None else waiting.operation_id)
        if not self.strands.running:
            self._settle(Pending())
            raise _suspension(waiting)
        strand.bell.wait(timeout_s)
        self.strands.wake(strand)

    def require_open(self, strand: Strand) -> None:
        """Raise `InvocationLost` or `SuspendExecution` when the end is settled.

        Raises `SuspendExecution` when the strand is parked, `OrphanedChildException` when nobody
        waits for it any more.
        """
        match self._settled:
            case None:
                pass
            case Lost():
                raise InvocationLost
            case Pending() | Failed() | Errored() | Diverged() as settled:
                raise SuspendExecution(f"This invocation has ended ({type(settled).__name__}).")
        if strand.parked:
            raise SuspendExecution("This branch goes on in the next invocation.")
        if strand.abandoned:
            raise OrphanedChildException(
                "What this call belongs to is complete without it.", strand.operation_id
            )

    def settle(self, end: Settled) -> None:
        """Fix the end of the invocation; the first one stays, unless a weightier one follows."""
        with self.lock:
            self._settle(end)

    def settle_failure(self, strand: Strand, error: BaseException) -> None:
        """Settle what cannot be repaired; anything else, or anybody abandoned, settles nothing."""
        end = failure_end(error)
        if end is not None and (not strand.abandoned or isinstance(end, Lost)):
            self.settle(end)

    def end(self, handler_end: Outcome) -> Outcome:
        """Stop what still runs, write what was not awaited, then say how the invocation ended."""
        self.abandon_below(self.strands.root)
        self.threads.wait_ended()
        try:
            for future in self.unwritten():
                _wait(future)
        except (InvocationLost, ExecutionError, InvocationError) as error:
            self.settle_failure(self.strands.root, error)
        return self._settled or handler_end

    def unwritten(self) -> Iterator[Future[None]]:
        """Yield what has to be waited for before the invocation may end."""
        if isinstance(self._settled, Lost | Errored | Diverged):
            return
        if not all(future.done() for future in self._unawaited):
            yield self.refresh()
            yield from self._unawaited

    def abandon_below(self, strand: Strand) -> None:
        """Let all branches of `strand` stop at their next durable call; record nothing of them."""
        with self.submitting, self.lock:
            self.strands.abandon_below(strand)

    def _wait_changed(
        self, strand: Strand, waiting: Suspend, timeout_s: float | None
    ) -> Operation | None:
        with self.lock:
            self.require_open(strand)
            operation = self._operations[waiting.operation_id]
            if operation.status is waiting.seen:
                if strand.parks:
                    strand.parked = True
                    raise _suspension(waiting)
                self.pause(strand, waiting, timeout_s)
                self.require_open(strand)
                operation = self._operations[waiting.operation_id]
            return None if operation.status is waiting.seen else operation

    def left_s(self, until_ms: int | None) -> float | None:
        """Return how long it is until then, by the clock of the service's timers."""
        if until_ms is None:
            return None
        return min(max((until_ms - self.now_ms()) / 1_000, 0), threading.TIMEOUT_MAX)

    def submit(self, strand: Strand, update: OperationUpdate, *, urgent: bool) -> Future[None]:
        """Hand `update` to the worker; `failure_of` tells what the future's error means."""
        with self.submitting:
            self.require_open(strand)
            if update.action is OperationAction.START and update.type in _TRACED:
                with self.lock:
                    self._begun[update.id] = update
            return self._checkpoints.submit([update], urgent=urgent)

    def _lies_in(self, each: Operation | OperationUpdate, context_id: str) -> bool:
        above = each.parent_id
        while above is not None and above != context_id:
            known = self._operations.get(above) or self._begun.get(above)
            above = None if known is None else known.parent_id
        return above is not None

    def _settle(self, end: Settled) -> None:
        if self._settled is None or _WEIGHT[type(end)] > _WEIGHT[type(self._settled)]:
            self._settled = end
        self.strands.wake_all()
        self.on_change(())

    def _learn(self, answer: CheckpointAnswer) -> None:
        changed = {operation.id: operation for operation in answer.operations}
        if self.plugins is not None:
            self.plugins.update(answer.operations)
        with self.lock:
            self._operations.update(changed)
            self._note_waits(answer.operations)
            self.strands.wake_for(changed)
            self.on_change(changed)
            if answer.revoked:
                self._settle(Pending())
            if answer.lost:
                self._settle(Lost())

    def _note_waits(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self._begun.pop(operation.id, None)
            if _is_open_wait(operation):
                self._waits[operation.id] = operation
            else:
                self._waits.pop(operation.id, None)

    def _note_failure(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            self.settle_failure(self.strands.root, failure_of(error))


def failure_end(error: BaseException) -> Settled | None:
    """Return how an invocation ends that `error` cannot be kept from ending; None if it can."""
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
    """Nobody asks."""


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
        raise failure_of(error) from error


def failure_of(error: BaseException) -> BaseException:
    """Return what a checkpoint that failed means to whoever waits for it."""
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
