"""Maps and parallels: branches side by side, each an item of one result."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import (
    BatchResult,
    ChildContextError,
    DurableContext,
    ExecutionError,
    InvocationError,
    ParallelBranch,
    StepContext,
    ValidationError,
    complete_batch,
    continue_batch,
    durable_parallel_branch,
    durable_with_child_context,
)
from perdure.config import (
    CompletionConfig,
    CompletionStatus,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
)
from perdure.primitives.bound_function import Bound
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from perdure.worker_api import Diverged, Failed, Outcome, Succeeded
from perdure_core.model import ContextDetails, Operation
from tests.sdk.hosted import Hosted, handler

BranchBody = Callable[[DurableContext], Any]
ALL = CompletionConfig.all_completed()
FIRST = CompletionConfig.first_successful()


def returning(value: Any) -> BranchBody:
    return lambda context: context.step(lambda _: value)


def resting(seconds: int, value: Any = None) -> BranchBody:
    def body(context: DurableContext) -> Any:
        context.wait(Duration(seconds))
        return value

    return body


def failing(_context: DurableContext) -> None:
    raise ValueError("bad")


def summary(result: BatchResult[Any]) -> list[Any]:
    return [
        result.completion_reason.value,
        *([item.index, item.status.value, item.result] for item in result.all),
    ]


def parallel(
    branches: Sequence[BranchBody | ParallelBranch[Any]], **config: Any
) -> tuple[Hosted, list[list[Any]], Outcome]:
    """Run branches, then wait so that the result is replayed; return the result of each time."""
    seen: list[list[Any]] = []

    def body(_: Any, context: DurableContext) -> None:
        seen.append(summary(context.parallel(branches, "p", ParallelConfig(**config))))
        context.wait(Duration(1_000))

    host = Hosted(handler(body))
    outcome = host.finish()
    return host, seen, outcome


def operations(host: Hosted, sub_type: str) -> list[Operation]:
    return [op for op in host.state.operations.values() if op.sub_type == sub_type]


@pytest.mark.parametrize("nesting", NestingType)
def test_all_branches_run_and_their_results_come_in_their_order(nesting: NestingType) -> None:
    branches = [resting(9, "a"), returning((1, 2)), resting(3, "c")]
    host, seen, _ = parallel(branches, nesting_type=nesting)
    done = [[0, "SUCCEEDED", "a"], [1, "SUCCEEDED", (1, 2)], [2, "SUCCEEDED", "c"]]
    assert seen == [["ALL_COMPLETED", *done]] * 2
    nested = 3 if nesting is NestingType.NESTED else 0
    assert len(operations(host, "ParallelBranch")) == nested


def test_a_failing_branch_is_an_item_and_the_last_thing_waited_for() -> None:
    _, seen, _ = parallel([returning(1), failing, returning(3)], max_concurrency=1)
    done = [[0, "SUCCEEDED", 1], [1, "FAILED", None]]
    assert seen == [["FAILURE_TOLERANCE_EXCEEDED", *done]] * 2


@pytest.mark.parametrize("nesting", NestingType)
def test_failures_within_tolerance_stop_nothing(nesting: NestingType) -> None:
    _, seen, _ = parallel(
        [failing, returning(2)], completion_config=ALL, nesting_type=nesting, max_concurrency=1
    )
    assert seen == [["ALL_COMPLETED", [0, "FAILED", None], [1, "SUCCEEDED", 2]]] * 2


def test_enough_successes_complete_a_batch_and_the_others_stay_started() -> None:
    host, seen, outcome = parallel([resting(900, 1), resting(5, 2)], completion_config=FIRST)
    assert outcome == Succeeded("null")
    assert seen[0] == ["MIN_SUCCESSFUL_REACHED", [0, "STARTED", None], [1, "SUCCEEDED", 2]]
    assert all(again == seen[0] for again in seen)
    assert host.updates.count("SUCCEED CONTEXT") == 2


def test_branches_that_never_started_are_absent() -> None:
    _, seen, _ = parallel([returning(1), returning(2)], completion_config=FIRST, max_concurrency=1)
    assert seen == [["MIN_SUCCESSFUL_REACHED", [0, "SUCCEEDED", 1]]] * 2


def test_an_empty_batch_is_complete() -> None:
    host, seen, _ = parallel([])
    assert seen == [["ALL_COMPLETED"]] * 2
    assert host.updates == ["START CONTEXT", "SUCCEED CONTEXT", "START WAIT"]


def test_a_predicate_is_asked_before_the_start_and_after_every_end() -> None:
    asked: list[tuple[int, list[str | None]]] = []

    def predicate(status: CompletionStatus) -> Any:
        statuses = [item.status and item.status.value for item in status.items]
        asked.append((status.completed_count, statuses))
        return complete_batch() if status.success_count == 2 else continue_batch()

    config = CompletionConfig(should_complete=predicate)
    branches = [returning(1), failing, returning(3), returning(4)]
    _, seen, _ = parallel(branches, completion_config=config, max_concurrency=1)
    assert asked == [
        (0, [None, None, None, None]),
        (1, ["SUCCEEDED", None, None, None]),
        (2, ["SUCCEEDED", "FAILED", None, None]),
        (3, ["SUCCEEDED", "FAILED", "SUCCEEDED", None]),
    ]
    assert seen[0][0] == "CUSTOM_COMPLETION_SUCCEEDED"


def test_a_predicate_that_raises_fails_the_batch_and_abandons_its_branches() -> None:
    def predicate(status: CompletionStatus) -> Any:
        if status.completed_count:
            raise KeyError("oops")
        return continue_batch()

    config = ParallelConfig(completion_config=CompletionConfig(should_complete=predicate))

    def body(_: Any, context: DurableContext) -> str:
        with pytest.raises(ChildContextError, match="oops"):
            context.parallel([resting(9), returning(1)], None, config)
        return "caught"

    assert Hosted(handler(body)).finish() == Succeeded('"caught"')


def test_a_suspended_branch_keeps_its_place() -> None:
    running: list[int] = []

    def noting(index: int) -> BranchBody:
        def body(context: DurableContext) -> None:
            context.step(lambda _: running.append(index))
            context.wait(Duration(10))

        return body

    def body(_: Any, context: DurableContext) -> int:
        config = ParallelConfig(max_concurrency=2)
        return context.parallel([noting(n) for n in range(4)], None, config).success_count

    host = Hosted(handler(body))
    host.run()
    assert sorted(running) == [0, 1]
    assert host.finish() == Succeeded("4")
    assert sorted(running) == [0, 1, 2, 3]


def test_ids_names_and_parents_are_those_of_the_index() -> None:
    branches: list[BranchBody | ParallelBranch[Any]] = [
        returning(0),
        ParallelBranch(returning(1), "mine"),
        returning(2),
    ]
    host, _, _ = parallel(branches)
    (batch,) = operations(host, "Parallel")
    named = {op.name: op for op in operations(host, "ParallelBranch")}
    assert sorted(named, key=str) == ["mine", "parallel-branch-0", "parallel-branch-2"]
    assert {op.parent_id for op in named.values()} == {batch.id}
    again, _, _ = parallel(branches, max_concurrency=1)
    assert {op.id for op in operations(again, "ParallelBranch")} == {op.id for op in named.values()}


def test_the_operations_of_a_flat_branch_lie_in_the_batch() -> None:
    host, _, _ = parallel([returning(0), returning(1)], nesting_type=NestingType.FLAT)
    (batch,) = operations(host, "Parallel")
    assert [op.parent_id for op in operations(host, "Step")] == [batch.id] * 2


def test_switching_the_nesting_is_caught() -> None:
    nestings = [NestingType.NESTED, NestingType.FLAT]

    def body(_: Any, context: DurableContext) -> None:
        context.parallel([resting(5)], None, ParallelConfig(nesting_type=nestings.pop(0)))

    outcome = Hosted(handler(body)).finish()
    assert isinstance(outcome, Diverged)
    assert outcome.error.type == "perdure.exceptions.NonDeterministicExecutionError"


@pytest.mark.parametrize("nesting", NestingType)
def test_a_large_result_is_made_again_from_the_recorded_branches(nesting: NestingType) -> None:
    steps: list[int] = []

    def large(index: int) -> BranchBody:
        def body(context: DurableContext) -> str:
            context.step(lambda _: steps.append(index))
            return str(index) * 100_000

        return body

    branches = [resting(900), large(1), failing, large(3), large(4), returning(5), returning(6)]
    host, seen, _ = parallel(
        branches,
        max_concurrency=2,
        completion_config=CompletionConfig(min_successful=4),
        nesting_type=nesting,
    )
    (batch,) = operations(host, "Parallel")
    assert isinstance(batch.details, ContextDetails)
    assert batch.details.replay_children
    assert len(seen) >= 2
    assert all(again == seen[0] for again in seen)
    assert seen[0] == [
        "MIN_SUCCESSFUL_REACHED",
        [0, "STARTED", None],
        [1, "SUCCEEDED", "1" * 100_000],
        [2, "FAILED", None],
        [3, "SUCCEEDED", "3" * 100_000],
        [4, "SUCCEEDED", "4" * 100_000],
        [5, "SUCCEEDED", 5],
    ]
    assert sorted(steps) == [1, 3, 4]


def test_fewer_branches_than_a_large_result_is_made_of_are_caught() -> None:
    counts = [3, 2]

    def item(_context: DurableContext, _item: int, *_: Any) -> str:
        return "x" * 100_000

    def body(_: Any, context: DurableContext) -> None:
        context.map(range(counts.pop(0)), item)
        context.wait(Duration(5))

    outcome = Hosted(handler(body)).finish()
    assert isinstance(outcome, Diverged)
    assert outcome.error.type == "perdure.exceptions.NonDeterministicExecutionError"


def test_a_fatal_error_ends_the_execution_whatever_is_tolerated() -> None:
    def fatal(_context: DurableContext) -> None:
        raise ExecutionError("enough")

    _, _, outcome = parallel([resting(5), fatal], completion_config=ALL)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "enough"


def test_a_broken_invocation_in_a_branch_is_run_again() -> None:
    troubles = [InvocationError("just now")]

    def shaky(_context: DurableContext) -> str:
        while troubles:
            raise troubles.pop()
        return "fine"

    _, seen, _ = parallel([returning(1), shaky])
    assert seen[-1] == ["ALL_COMPLETED", [0, "SUCCEEDED", 1], [1, "SUCCEEDED", "fine"]]


def test_serdes_write_items_and_results() -> None:
    _, seen, _ = parallel([returning((1, 2))], item_serdes=JsonSerDes())
    assert seen == [["ALL_COMPLETED", [0, "SUCCEEDED", [1, 2]]]] * 2


@pytest.mark.parametrize("config_class", [MapConfig, ParallelConfig])
def test_a_concurrency_below_one_is_refused(config_class: type[Any]) -> None:
    with pytest.raises(ValidationError):
        config_class(max_concurrency=0)


def test_what_is_refused_takes_no_place() -> None:
    def body(_: Any, context: DurableContext) -> int:
        config = ParallelConfig(completion_config=CompletionConfig(min_successful=2))
        with pytest.raises(ValidationError):
            context.parallel([returning(1)], None, config)
        with pytest.raises(ValidationError):
            context.parallel([ParallelBranch(returning(1), "schön")])
        return context.step(lambda _: 1)

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("1")
    assert len(host.state.operations) == 1


@durable_parallel_branch(name="named")
def adding(context: DurableContext, left: int, right: int) -> int:
    return context.step(lambda _: left + right)


def test_a_decorated_branch_is_bound_to_its_arguments() -> None:
    host, seen, _ = parallel([adding(1, 2), adding(3, right=4)])
    assert seen[0] == ["ALL_COMPLETED", [0, "SUCCEEDED", 3], [1, "SUCCEEDED", 7]]
    assert {op.name for op in operations(host, "ParallelBranch")} == {"named"}


def mapped(inputs: Sequence[Any], func: Any, **options: Any) -> Hosted:
    name = options.pop("name", None)

    def body(_: Any, context: DurableContext) -> Any:
        return context.map(inputs, func, name, MapConfig(**options)).get_results()

    host = Hosted(handler(body))
    host.finish()
    return host


def test_a_map_gives_every_item_its_index_and_all_inputs() -> None:
    def func(context: DurableContext, item: str, index: int, inputs: Sequence[str]) -> Any:
        return context.step(lambda _: [item, index, len(inputs)])

    host = mapped(["a", "b"], func, name="m")
    assert host.outcomes[-1] == Succeeded('[["a", 0, 2], ["b", 1, 2]]')
    assert [op.name for op in operations(host, "Map")] == ["m"]
    assert {op.name for op in operations(host, "MapIteration")} == {"map-item-0", "map-item-1"}


def test_items_are_named_by_their_namer_and_a_map_by_its_function() -> None:
    @durable_with_child_context
    def shouting(_context: DurableContext, item: str, *_: Any) -> str:
        return item.upper()

    def func(context: DurableContext, item: str, *rest: Any) -> str:
        return shouting(item, *rest)(context)

    name: str = shouting("a")._original_name  # type: ignore[attr-defined]
    namer: Callable[[str, int], str] = "{}{}".format
    host = mapped(["a"], Bound(func, name), item_namer=namer)
    assert [op.name for op in operations(host, "Map")] == ["shouting"]
    assert [op.name for op in operations(host, "MapIteration")] == ["a0"]


def test_a_map_stops_at_the_first_failure_by_default() -> None:
    def body(_: Any, context: DurableContext) -> str:
        def func(context: DurableContext, item: int, *_: Any) -> float:
            return 1 / item

        result = context.map([1, 0, 2], func, None, MapConfig(max_concurrency=1))
        return result.completion_reason.value

    assert Hosted(handler(body)).finish() == Succeeded('"FAILURE_TOLERANCE_EXCEEDED"')


def test_thousands_of_items_take_a_bounded_number_of_threads() -> None:
    most = 0

    def func(context: DurableContext, item: int, *_: Any) -> int:
        nonlocal most
        context.wait(Duration(5))
        most = max(most, threading.active_count())
        return item

    host = mapped(range(1_500), func)
    outcome = host.outcomes[-1]
    assert isinstance(outcome, Succeeded)
    assert outcome.result is not None
    assert outcome.result.startswith("[0, 1, 2, 3")
    assert most <= 1_100


def test_using_the_context_of_the_handler_inside_a_branch_is_caught() -> None:
    def body(_: Any, context: DurableContext) -> None:
        context.parallel([lambda _branch: context.step(lambda _: 1)])

    outcome = Hosted(handler(body)).finish()
    assert isinstance(outcome, Failed)
    assert "from inside CONTEXT (ParallelBranch)" in (outcome.error.message or "")


def test_batches_nest() -> None:
    def func(context: DurableContext, item: int, *_: Any) -> int:
        inner = context.parallel([resting(item, item), resting(2 * item, 2 * item)])
        return sum(inner.get_results())

    host = mapped([1, 2, 3], func)
    assert host.outcomes[-1] == Succeeded("[3, 6, 9]")


def test_the_body_of_a_map_may_say_of_what_class_its_inputs_are() -> None:
    def add_all(_context: DurableContext, item: int, _index: int, items: list[int]) -> int:
        return item + sum(items)

    def body(_: Any, context: DurableContext) -> list[int]:
        return context.map([1, 2], add_all).get_results()

    assert Hosted(handler(body)).finish() == Succeeded("[4, 5]")


def test_errors_of_a_batch_print_as_people_read_them() -> None:
    def fail(_context: DurableContext, item: str, _index: int, _items: Any) -> None:
        raise ValueError(item)

    def body(_: Any, context: DurableContext) -> str:
        config = MapConfig[str](completion_config=CompletionConfig.all_completed())
        return str(context.map(["a", "b"], fail, config=config).get_errors())

    assert Hosted(handler(body)).finish() == Succeeded('"[ValueError: a, ValueError: b]"')


def test_an_error_of_a_batch_names_what_its_step_has_raised() -> None:
    def charge(_step: StepContext) -> None:
        raise ValueError("no card")

    def branch(context: DurableContext) -> None:
        context.step(charge, config=StepConfig(retry_strategy=RetryPresets.none()))

    def body(_: Any, context: DurableContext) -> str:
        return str(context.parallel([branch]).get_errors())

    printed = '"[StepError: no card, caused by ValueError: no card]"'
    assert Hosted(handler(body)).finish() == Succeeded(printed)
