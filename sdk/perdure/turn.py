"""One invocation's hold on its execution: what is recorded, and the way to record more.

A turn can end before the handler does: it suspends, is revoked, passes to another worker, or meets
something that cannot be repaired. Then its end is *settled*: every further durable call raises
control flow at once, and nothing that the handler still returns or raises changes the outcome. So a
handler that catches too much can delay the end, and no more.
"""

import threading
from concurrent.futures import Future
from typing import NoReturn

from perdure.delivery import (
    CheckpointAnswer,
    CheckpointRefused,
    Checkpoints,
    CheckpointUnavailable,
    Invocation,
    InvocationObserver,
    TurnPassed,
)
from perdure.error_objects import error_object
from perdure.exceptions import (
    ExecutionError,
    InvocationError,
    SuspendExecution,
    TerminationReason,
    TimedSuspendExecution,
)
from perdure.outcome import Broken, Dropped, Failed, Outcome, Pending
from perdure_core.model import Operation, OperationUpdate

Settled = Failed | Pending | Broken | Dropped

# A suspended turn may prove broken while its last updates are written; a passed one has no say.
_WEIGHT: dict[type[Settled], int] = {Pending: 0, Failed: 1, Broken: 1, Dropped: 2}


class Turn:
    """The recorded operations and the checkpoints of one invocation; blocks the calling thread.

    Answers arrive on the worker's thread while the handler runs on another; both only add.
    """

    def __init__(
        self,
        invocation: Invocation,
        checkpoints: Checkpoints,
        observer: InvocationObserver | None = None,
    ) -> None:
        self.execution_arn = invocation.execution_arn
        self.observer = observer
        self._operations = {operation.id: operation for operation in invocation.operations}
        self._checkpoints = checkpoints
        self._unawaited: list[Future[None]] = []
        self._settled: Settled | None = None
        self._settling = threading.Lock()
        checkpoints.subscribe(self._learn)

    def recorded(self, operation_id: str) -> Operation | None:
        """Return the operation as last heard of."""
        return self._operations.get(operation_id)

    def send(self, update: OperationUpdate) -> None:
        """Record `update` without waiting. A failure settles the turn when it becomes known."""
        self.require_open()
        future = self._checkpoints.submit([update], urgent=False)
        self._unawaited = [other for other in self._unawaited if not other.done()]
        self._unawaited.append(future)
        future.add_done_callback(self._note_failure)

    def commit(self, update: OperationUpdate) -> Operation:
        """Record `update`, wait until it is durable, and return its operation as it stands then.

        Raises what `require_open` does; `ExecutionError` and `InvocationError` when it was not
        recorded.
        """
        self.require_open()
        _wait(self._checkpoints.submit([update], urgent=True))
        self.require_open()
        operation = self._operations.get(update.id)
        if operation is None:
            raise InvocationError(
                f"The service accepted {update.id} and did not say how it stands."
            )
        return operation

    def suspend(self, reason: str, until_ms: int | None) -> NoReturn:
        """End the invocation; the execution goes on when something has changed."""
        self.settle(Pending())
        if until_ms is None:
            raise SuspendExecution(reason)
        raise TimedSuspendExecution(reason, until_ms / 1_000)

    def require_open(self) -> None:
        """Raise `TurnPassed` or `SuspendExecution` when the end is settled."""
        match self._settled:
            case None:
                return
            case Dropped():
                raise TurnPassed
            case Pending() | Failed() | Broken() as settled:
                raise SuspendExecution(f"This invocation has ended ({type(settled).__name__}).")

    def settle(self, end: Settled) -> None:
        """Fix the end of the invocation; the first one stays, unless a weightier one follows."""
        with self._settling:
            if self._settled is None or _WEIGHT[type(end)] > _WEIGHT[type(self._settled)]:
                self._settled = end

    def settle_failure(self, error: BaseException) -> None:
        """Settle what cannot be repaired; anything else settles nothing."""
        end = failure_end(error)
        if end is not None:
            self.settle(end)

    def end(self, handler_end: Outcome) -> Outcome:
        """Write what was sent and not awaited, then say how the invocation ended."""
        if not isinstance(self._settled, Dropped | Broken):
            self._flush()
        return self._settled or handler_end

    def _flush(self) -> None:
        if all(future.done() for future in self._unawaited):
            return
        try:
            _wait(self._checkpoints.submit((), urgent=True))
            for future in self._unawaited:
                _wait(future)
        except (TurnPassed, ExecutionError, InvocationError) as error:
            self.settle_failure(error)

    def _learn(self, answer: CheckpointAnswer) -> None:
        self._operations.update({operation.id: operation for operation in answer.operations})
        if answer.revoked:
            self.settle(Pending())

    def _note_failure(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            self.settle_failure(_translated(error))


def failure_end(error: BaseException) -> Settled | None:
    """Return how an invocation ends that `error` cannot be kept from ending; None if it can."""
    match error:
        case TurnPassed():
            return Dropped()
        case InvocationError() if error.is_retryable():
            return Broken(error_object(error))
        case ExecutionError() | InvocationError():
            return Failed(error_object(error))
        case _:
            return None


def _wait(future: Future[None]) -> None:
    # The worker resolves every future: it owns the deadlines of the calls behind them.
    try:
        future.result()
    except (CheckpointRefused, CheckpointUnavailable) as error:
        raise _translated(error) from error


def _translated(error: BaseException) -> BaseException:
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
