"""The rules of a batch, which is what map and parallel are: branches side by side.

Branches start in the order of their indexes, at most so many at a time; one that is suspended keeps
its place. The policy is asked before the first one and whenever one has ended. When it says
complete, branches that have not ended are abandoned. A branch that fails is an item of the result;
what concerns more than the branch ends the batch, whatever the policy tolerates.

A result that was too large to be kept is made again, from its summary and the recorded branches.
Semantics are those of the AWS Lambda durable execution SDK for Python 3.0 (concurrency).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from perdure.batch_result import BatchItem, BatchResult, BatchSummary
from perdure.completion import (
    BatchItemStatus,
    CompletionItemStatus,
    CompletionPolicy,
    CompletionReason,
)
from perdure.exceptions import ChildContextError, InvocationError
from perdure.program import (
    AbandonBranches,
    AwaitBranch,
    BranchEnd,
    Nest,
    Program,
    StartBranch,
)
from perdure_core.model import ErrorObject

# What a batch without a limit of its own runs at a time: each branch takes a thread.
IN_FLIGHT_MAX: Final = 1_000


@dataclass(frozen=True)
class Branch:
    """A branch before it runs. `body` is called with what carries it; None is the batch itself.

    It raises `ChildContextError` when the user's code raises.
    """

    body: Callable[[Any], Any]
    name: str | None = None


@dataclass(frozen=True)
class BatchPlan:
    """The branches, how many may run at a time, and when they are enough."""

    branches: Sequence[Branch]
    policy: CompletionPolicy
    in_flight_max: int = IN_FLIGHT_MAX


def batch(plan: BatchPlan) -> Program[BatchResult[Any]]:
    """Run branches until the policy says that the batch is complete."""
    total = len(plan.branches)
    items: dict[int, BatchItem[Any]] = {}
    counts = Counter[BatchItemStatus]()
    while (reason := _reason(plan, items, counts)) is None:
        while counts[BatchItemStatus.STARTED] < plan.in_flight_max and len(items) < total:
            index = len(items)
            items[index] = BatchItem(index, BatchItemStatus.STARTED)
            counts[BatchItemStatus.STARTED] += 1
            yield StartBranch(index, plan.branches[index].body)
        item = _item((yield AwaitBranch()))
        items[item.index] = item
        counts[BatchItemStatus.STARTED] -= 1
        counts[item.status] += 1
    yield AbandonBranches()
    return BatchResult(list(items.values()), reason)


def batch_again(plan: BatchPlan, summary: str) -> Program[BatchResult[Any]]:
    """Make the result of a complete batch again, one branch after the other."""
    known = _read(summary, len(plan.branches))
    items: list[BatchItem[Any]] = []
    for index in range(known.total):
        if index in known.started:
            items.append(BatchItem(index, BatchItemStatus.STARTED))
            continue
        try:
            value = yield Nest(partial(plan.branches[index].body, None))
            end = BranchEnd(index, value)
        except ChildContextError as error:
            end = BranchEnd(index, error=error)
        items.append(_item(end))
    return BatchResult(items, known.reason)


def _reason(
    plan: BatchPlan, items: dict[int, BatchItem[Any]], counts: Counter[BatchItemStatus]
) -> CompletionReason | None:
    def statuses() -> tuple[CompletionItemStatus, ...]:
        return tuple(
            CompletionItemStatus(
                index, branch.name, items[index].status if index in items else None
            )
            for index, branch in enumerate(plan.branches)
        )

    succeeded, failed = counts[BatchItemStatus.SUCCEEDED], counts[BatchItemStatus.FAILED]
    return plan.policy.decide(succeeded, failed, statuses)


def _item(end: BranchEnd) -> BatchItem[Any]:
    error = end.error
    if error is None:
        return BatchItem(end.index, BatchItemStatus.SUCCEEDED, end.value)
    if not isinstance(error, ChildContextError):
        raise error
    failure = ErrorObject(
        error.message, error.error_type, error.data, tuple(error.stack_trace or ())
    )
    return BatchItem(end.index, BatchItemStatus.FAILED, error=failure)


def _read(summary: str, total: int) -> BatchSummary:
    try:
        known = BatchSummary.read(summary)
    except (ValueError, KeyError, TypeError) as error:
        raise InvocationError(f"The summary of a batch is not understood: {error!r}") from error
    if known.total > total:
        raise InvocationError(f"{known.total} branches are recorded, there are only {total}.")
    return known
