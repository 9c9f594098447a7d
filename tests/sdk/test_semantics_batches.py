"""Branches of maps and parallels: how they start, wait, end and are named."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import (
    CompletionConfig,
    CompletionOutcome,
    Duration,
    MapConfig,
    NestingType,
    ParallelBranch,
    ParallelConfig,
    complete_batch,
)
from perdure.primitives.completion import CompletionPolicy, CompletionReason
from perdure.serdes import JsonSerDes
from perdure.worker_api import Pending, Succeeded
from perdure_core.model import ContextDetails, OperationAction
from perdure_core.payload import text_of
from tests.sdk.hosted import Hosted, handler

Body = Callable[[DurableContext], Any]


def resting(seconds: int) -> Body:
    return lambda context: context.wait(Duration(seconds))


def started(host: Hosted) -> list[str | None]:
    return [
        update.name
        for call in host.calls
        for update in call
        if update.action is OperationAction.START and update.sub_type == "ParallelBranch"
    ]


@pytest.mark.parametrize("limit", [1, 2])
def test_branches_start_in_the_order_of_their_indexes(limit: int) -> None:
    config = ParallelConfig(max_concurrency=limit)
    starts: list[int] = []

    def noting(index: int) -> Body:
        def body(context: DurableContext) -> None:
            starts.append(index)
            context.wait(Duration(1 + index))

        return body

    def body(_: Any, context: DurableContext) -> None:
        context.parallel([noting(index) for index in range(6)], None, config)

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("null")
    assert sorted(starts[:limit]) == list(range(limit))
    assert started(host) == sorted(started(host), key=str)


def test_a_batch_whose_branches_all_wait_suspends_until_the_earliest() -> None:
    def body(_: Any, context: DurableContext) -> None:
        context.parallel([resting(30), resting(10), resting(20)])

    host = Hosted(handler(body))
    began_ms = host.now_ms
    assert host.run() == Pending()
    host.pass_time()
    assert host.now_ms - began_ms == 10_000


def test_an_abandoned_branch_that_works_is_waited_for_at_the_end_of_the_invocation() -> None:
    working, release, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(_context: DurableContext) -> None:
        working.set()
        release.wait(60)
        ended.set()

    def fast(_context: DurableContext) -> None:
        working.wait(60)

    def body(_: Any, context: DurableContext) -> int:
        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        count = context.parallel([slow, fast], None, config).started_count
        release.set()
        return count

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("1")
    assert ended.is_set()


def test_a_namer_is_asked_for_every_item_before_the_first_one_and_on_every_replay() -> None:
    asked: list[Any] = []

    def namer(item: str, index: int) -> str:
        asked.append(f"{item}{index}")
        return f"{item}{index}"

    def func(context: DurableContext, item: str, *_: Any) -> None:
        asked.append("runs")
        context.wait(Duration(5))

    def body(_: Any, context: DurableContext) -> None:
        context.map(["a", "b"], func, None, MapConfig(item_namer=namer, max_concurrency=1))

    host = Hosted(handler(body))
    host.run()
    assert asked == ["a0", "b1", "runs"]
    host.finish()
    assert asked.count("a0") == len(host.outcomes)


class Counting(JsonSerDes):
    """A JSON serdes that records the values it wrote."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def serialize(self, value: Any, serdes_context: Any) -> str:
        if isinstance(value, int):
            self.written.append(str(value))
            return super().serialize(value, serdes_context)
        self.written.append(type(value).__name__)
        return "[]"


@pytest.mark.parametrize("kind", ["map", "parallel"])
def test_the_serdes_of_a_batch_writes_its_items_too_unless_they_have_their_own(kind: str) -> None:
    def func(_context: DurableContext, *_: Any) -> int:
        return 7

    def batched(**serdes: Any) -> None:
        def body(_: Any, context: DurableContext) -> None:
            if kind == "map":
                context.map([1], func, None, MapConfig[int](**serdes))
            else:
                context.parallel([func], None, ParallelConfig(**serdes))

        assert Hosted(handler(body)).finish() == Succeeded("null")

    alone, whole, items = Counting(), Counting(), Counting()
    batched(serdes=alone)
    batched(serdes=whole, item_serdes=items)
    assert (alone.written, whole.written, items.written) == (
        ["7", "BatchResult"],
        ["BatchResult"],
        ["7"],
    )


@pytest.mark.parametrize("kind", ["map", "parallel"])
def test_a_large_batch_records_the_summary_that_its_generator_made(kind: str) -> None:
    def summarize(result: Any) -> str:
        return f"{result.total_count} large ones"

    def func(_context: DurableContext, *_: Any) -> str:
        return "x" * 100_000

    def body(_: Any, context: DurableContext) -> None:
        if kind == "map":
            config = MapConfig[int](summary_generator=summarize)
            context.map(range(3), func, None, config)
        else:
            context.parallel([func] * 3, None, ParallelConfig(summary_generator=summarize))

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("null")
    details = next(iter(host.state.operations.values())).details
    assert isinstance(details, ContextDetails)
    assert "3 large ones" in (text_of(details.result) or "")


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_map_may_be_nested_or_flat(nesting: NestingType) -> None:
    def func(context: DurableContext, item: int, *_: Any) -> int:
        return context.step(lambda _: item)

    def body(_: Any, context: DurableContext) -> Sequence[int]:
        return context.map([1, 2], func, None, MapConfig(nesting_type=nesting)).get_results()

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("[1, 2]")
    contexts = 3 if nesting is NestingType.NESTED else 1
    assert len(host.state.operations) == contexts + 2


def test_a_parallel_stops_at_the_first_failure_by_default() -> None:
    def fail(_context: DurableContext) -> None:
        raise OSError("no")

    def body(_: Any, context: DurableContext) -> list[Any]:
        branches = [ParallelBranch(fail), ParallelBranch(resting(5))]
        result = context.parallel(branches, None, ParallelConfig(max_concurrency=1))
        return [result.completion_reason.value, result.total_count]

    assert Hosted(handler(body)).finish() == Succeeded('["FAILURE_TOLERANCE_EXCEEDED", 1]')


def test_a_map_runs_so_many_items_at_a_time() -> None:
    running: list[int] = []

    def func(context: DurableContext, item: int, *_: Any) -> None:
        context.step(lambda _: running.append(item))
        context.wait(Duration(5))

    def body(_: Any, context: DurableContext) -> None:
        context.map(range(5), func, None, MapConfig(max_concurrency=2))

    host = Hosted(handler(body))
    host.run()
    assert sorted(running) == [0, 1]
    assert host.finish() == Succeeded("null")
    assert sorted(running) == [0, 1, 2, 3, 4]


FAILED = complete_batch(CompletionOutcome.FAILED)
CUSTOM_FAILED = CompletionReason.CUSTOM_COMPLETION_FAILED
CUSTOM_SUCCEEDED = CompletionReason.CUSTOM_COMPLETION_SUCCEEDED


@pytest.mark.parametrize(
    ("config", "succeeded", "failed", "reason"),
    [
        (CompletionConfig(1, 0), 1, 1, CompletionReason.FAILURE_TOLERANCE_EXCEEDED),
        (CompletionConfig(should_complete=lambda _: FAILED), 2, 0, CUSTOM_FAILED),
        (CompletionConfig(should_complete=lambda _: complete_batch()), 0, 2, CUSTOM_SUCCEEDED),
        (CompletionConfig(1), 2, 0, CompletionReason.ALL_COMPLETED),
        (CompletionConfig(1), 1, 0, CompletionReason.MIN_SUCCESSFUL_REACHED),
    ],
)
def test_of_several_reasons_the_first_one_counts(
    config: CompletionConfig, succeeded: int, failed: int, reason: CompletionReason
) -> None:
    assert CompletionPolicy(2, config).decide(succeeded, failed, tuple) is reason
