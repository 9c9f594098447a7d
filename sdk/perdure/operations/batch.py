"""The rules of a batch (map or parallel): branches that run side by side.

Branches start in the order of their indexes, up to a concurrency limit; a suspended branch counts
against it. The completion policy is evaluated before the first one and whenever one has ended. Once
the batch is complete, branches that have not ended are cancelled. A branch that fails is an item of
the result; an error that concerns more than the branch ends the batch, whatever the policy
tolerates.

A result that was too large to be recorded is rebuilt from its summary and the recorded branches.
Semantics are those of the AWS Lambda durable execution SDK for Python 3.0 (concurrency).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from perdure.exceptions import (
    ChildContextError,
    ExecutionError,
    NonDeterministicExecutionError,
    SerDesError,
    SuspendExecution,
)
from perdure.operations.program import (
    AwaitBranch,
    BranchEnd,
    CancelBranches,
    Program,
    RunChild,
    StartBranch,
)
from perdure.primitives.completion import (
    BatchItemStatus,
    CompletionItemStatus,
    CompletionPolicy,
    CompletionReason,
)
from perdure.serdes.batch_result import BatchItem, BatchResult, BatchSummary
from perdure.serdes.error_records import record_of

# The concurrency limit of a batch that sets none; parked branches do not count against it.
RUNNING_MAX: Final = 1_000


@dataclass(frozen=True)
class BranchPlan:
    """A branch before it runs. `body` is called with its fiber; None is the fiber of the batch.

    It raises `ChildContextError` when the user's code raises, or `SerDesError`.
    """

    operation_id: str
    body: Callable[[Any], Any]
    name: str | None = None


@dataclass(frozen=True)
class BatchPlan:
    """The branches of a batch, its concurrency limit and its completion policy."""

    branches: Sequence[BranchPlan]
    policy: CompletionPolicy
    concurrency_max: int | None = None
    # Branches that are recorded as ended, in that order; they count before any other starts.
    ended: Sequence[int] = ()
    # How many have started, by the record; those that need not start again have started, too.
    begun: int = 0


class _Progress:
    """The branches that have started, and the status of each."""

    def __init__(self, plan: BatchPlan) -> None:
        self.items: dict[int, BatchItem[Any]] = {}
        self._plan = plan
        self._counts = Counter[BatchItemStatus]()
        self._parked = 0
        self._next = 0

    def reason(self) -> CompletionReason | None:
        """Return why the batch is complete; None while it is not."""
        counts = self._counts
        succeeded, failed = counts[BatchItemStatus.SUCCEEDED], counts[BatchItemStatus.FAILED]
        return self._plan.policy.decide(succeeded, failed, self._statuses)

    def start_next(self) -> StartBranch | None:
        """Mark the next branch as started and return its effect; None if none may start now."""
        while self._next in self.items:
            self._next += 1
        index, in_flight = self._next, self._counts[BatchItemStatus.STARTED]
        slots = self._plan.concurrency_max
        if index == len(self._plan.branches) or (slots is not None and in_flight >= slots):
            return None
        if in_flight - self._parked >= RUNNING_MAX:
            return None
        self.begin(index)
        branch = self._plan.branches[index]
        return StartBranch(index, branch.operation_id, branch.body)

    def begin(self, index: int) -> None:
        """Mark a branch as started."""
        self.items[index] = BatchItem(index, BatchItemStatus.STARTED)
        self._counts[BatchItemStatus.STARTED] += 1

    def note(self, end: BranchEnd) -> None:
        """Record how a branch ended; raise an error that concerns more than the branch."""
        if isinstance(end.error, SuspendExecution):
            self._parked += 1
            return
        item = _item(end)
        self.items[item.index] = item
        self._counts[BatchItemStatus.STARTED] -= 1
        self._counts[item.status] += 1

    def started(self) -> list[BatchItem[Any]]:
        """Return the items that have started, in order: here, or in an earlier invocation."""
        count = max(self._plan.begun, max(self.items, default=-1) + 1)
        missing = BatchItemStatus.STARTED
        return [self.items.get(index, BatchItem(index, missing)) for index in range(count)]

    def _statuses(self) -> tuple[CompletionItemStatus, ...]:
        return tuple(
            CompletionItemStatus(
                index, branch.name, self.items[index].status if index in self.items else None
            )
            for index, branch in enumerate(self._plan.branches)
        )


def batch(plan: BatchPlan) -> Program[BatchResult[Any]]:
    """Run branches until the policy is met."""
    progress = _Progress(plan)
    try:
        for index in plan.ended:
            if progress.reason() is None:
                progress.begin(index)
                progress.note((yield from _rebuild_branch(plan, index)))
        while (reason := progress.reason()) is None:
            while (start := progress.start_next()) is not None:
                yield start
            progress.note((yield AwaitBranch()))
    except GeneratorExit:  # the driver closed the program, and answers no more effects
        raise
    except BaseException:
        yield CancelBranches()
        raise
    yield CancelBranches()
    return BatchResult(progress.started(), reason)


def rebuild_batch(plan: BatchPlan, summary: str) -> Program[BatchResult[Any]]:
    """Rebuild the result of a complete batch, one branch after the other."""
    known = _read(summary, len(plan.branches))
    items: list[BatchItem[Any]] = []
    for index in range(known.total):
        if index in known.started:
            items.append(BatchItem(index, BatchItemStatus.STARTED))
            continue
        items.append(_item((yield from _rebuild_branch(plan, index))))
    return BatchResult(items, known.reason)


def _rebuild_branch(plan: BatchPlan, index: int) -> Program[BranchEnd]:
    """Return how a branch has ended, from its record or from those of its children."""
    try:
        value = yield RunChild(partial(plan.branches[index].body, None))
    except (ChildContextError, SerDesError) as error:
        return BranchEnd(index, error=error)
    return BranchEnd(index, value)


def _item(end: BranchEnd) -> BatchItem[Any]:
    error = end.error
    if error is None:
        return BatchItem(end.index, BatchItemStatus.SUCCEEDED, end.value)
    if not isinstance(error, (ChildContextError, SerDesError)):
        raise error
    return BatchItem(end.index, BatchItemStatus.FAILED, error=record_of(error))


def _read(summary: str, total: int) -> BatchSummary:
    try:
        known = BatchSummary.read(summary)
    except (ValueError, KeyError, TypeError) as error:
        raise ExecutionError(
            f"The recorded summary of a batch cannot be read: {error!r}"
        ) from error
    if known.total > total:
        raise NonDeterministicExecutionError(
            f"{known.total} branches are recorded, but the code has only {total}."
        )
    return known
