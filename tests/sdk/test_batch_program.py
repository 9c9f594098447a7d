"""The program of a batch, without threads: its effects, in order."""

from collections.abc import Iterator
from typing import Any

import pytest

from perdure.config import CompletionConfig
from perdure.exceptions import ChildContextError, SuspendExecution
from perdure.operations.batch import RUNNING_MAX, BatchPlan, BranchPlan, batch
from perdure.operations.program import AwaitBranch, BranchEnd, CancelBranches, Effect, StartBranch
from perdure.primitives.completion import CompletionPolicy
from perdure.serdes.batch_result import BatchResult

ALL = CompletionConfig.all_completed()


def nothing(_carrier: Any) -> None:
    """Never called: there is no driver here."""


def plan(total: int, concurrency: int | None = None, config: CompletionConfig = ALL) -> BatchPlan:
    branches = [BranchPlan(f"id-{index}", nothing) for index in range(total)]
    return BatchPlan(branches, CompletionPolicy(total, config), concurrency)


def performed(of: BatchPlan, ends: list[BranchEnd]) -> tuple[list[str], BatchResult[Any] | None]:
    """Answer with `ends`; return the effects, and the result if there is one."""
    program = batch(of)
    remaining: Iterator[BranchEnd] = iter(ends)
    asked: list[str] = []
    answer: Any = None
    while True:
        try:
            effect: Effect = program.send(answer)
        except StopIteration as stop:
            return asked, stop.value
        answer = None
        match effect:
            case StartBranch(index):
                asked.append(f"start {index}")
            case AwaitBranch():
                asked.append("await")
                answer = next(remaining, None)
                if answer is None:
                    return asked, None
            case CancelBranches():
                asked.append("abandon")
            case _:
                raise AssertionError(effect)


def test_a_place_that_becomes_free_is_taken_by_the_next_branch() -> None:
    asked, result = performed(plan(3, 2), [BranchEnd(1, "b"), BranchEnd(0, "a"), BranchEnd(2, "c")])
    assert asked == ["start 0", "start 1", "await", "start 2", "await", "await", "abandon"]
    assert result is not None
    assert result.get_results() == ["a", "b", "c"]


def test_nothing_starts_in_a_batch_that_is_complete_before() -> None:
    assert performed(plan(0), [])[0] == ["abandon"]


def test_a_batch_without_a_limit_runs_so_many_at_a_time() -> None:
    asked, _ = performed(plan(RUNNING_MAX + 1), [BranchEnd(0, 1)])
    assert asked.count("await") == 2
    assert asked.index("await") == RUNNING_MAX
    assert asked[-2:] == [f"start {RUNNING_MAX}", "await"]


PARKED = BranchEnd(0, error=SuspendExecution("parked"))


def test_a_parked_branch_makes_room_only_where_no_limit_was_asked_for() -> None:
    asked, _ = performed(plan(RUNNING_MAX + 1), [PARKED])
    assert asked[-2:] == [f"start {RUNNING_MAX}", "await"]
    asked, _ = performed(plan(2, 1), [PARKED])
    assert asked == ["start 0", "await", "await"]


def test_branches_are_abandoned_before_what_ends_the_batch_comes_out() -> None:
    program = batch(plan(2))
    effects = [next(program), next(program), next(program)]
    assert [type(effect) for effect in effects] == [StartBranch, StartBranch, AwaitBranch]
    assert program.send(BranchEnd(0, error=KeyError("odd"))) == CancelBranches()
    with pytest.raises(KeyError, match="odd"):
        next(program)


def test_a_failed_branch_is_reported_with_its_record() -> None:
    failure = ChildContextError("m", "T", "d", ["s"])
    _, result = performed(plan(1), [BranchEnd(0, error=failure)])
    assert result is not None
    (error,) = result.get_errors()
    assert error is not None
    assert (error.message, error.type, error.data, error.stack_trace) == ("m", "T", "d", ("s",))
