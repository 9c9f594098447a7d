"""Checkpoints with scripted answers, for those that a healthy service never gives."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from perdure.worker_api import CheckpointAnswer, Invocation
from perdure_core.model import (
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
    OperationUpdate,
)


class Scripted:
    """Ends each call as scripted; None accepts it. Calls that are not urgent stay open.

    Accepted steps are reported as succeeded; every answer of a `revoked` invocation says so.
    """

    def __init__(self, *script: BaseException | None, revoked: bool = False) -> None:
        self.calls: list[tuple[tuple[OperationUpdate, ...], bool]] = []
        self.open: list[Future[None]] = []
        self._script = list(script)
        self._revoked = revoked
        self._listener: Callable[[CheckpointAnswer], None] | None = None

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        self._listener = listener

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> Future[None]:
        future: Future[None] = Future()
        self.calls.append((tuple(updates), urgent))
        self.open.append(future)
        if urgent:
            self.resolve(self._script.pop(0) if self._script else None)
        return future

    def resolve(self, error: BaseException | None) -> None:
        """Complete all open calls."""
        resolved, self.open = self.open, []
        assert self._listener is not None
        if error is None:
            self._listener(CheckpointAnswer((), self._revoked))
        for future in resolved:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def delivery(*recorded: Operation, payload: str | None = None) -> Invocation:
    """Return an invocation of an execution with these operations."""
    started = Operation(
        id="0f",
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        started_ms=0,
        details=ExecutionDetails(payload),
    )
    return Invocation(
        invocation_id="i",
        execution_arn="arn",
        function_name="under-test",
        operations=(started, *recorded),
    )
