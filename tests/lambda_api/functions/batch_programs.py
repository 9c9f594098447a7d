"""Programs with groups and batches, written with the AWS SDK alone.

They keep to what versions 1 and 3 of the SDK have in common, but for `stops_by_predicate`.
"""

from collections.abc import Sequence
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import (
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelBranch,
    ParallelConfig,
)
from aws_durable_execution_sdk_python.retries import (
    RetryDecision,
    WithRetryConfig,
    with_retry,
)
from words import LATER, caught

LARGE = 300_000
# What the service answered to the wrapper of `large_child`, for its handler to return.
STATES: list[list[dict[str, Any]]] = []


def nested(event: Any, context: DurableContext) -> Any:
    def deep(inner: DurableContext) -> int:
        return inner.step(lambda _: 2, name="deep step")

    def grouped(outer: DurableContext) -> list[int]:
        first = outer.step(lambda _: 1, name="first step")
        return [first, outer.run_in_child_context(deep, name="inner")]

    def broken(child: DurableContext) -> None:
        raise ValueError("not in here")

    total = context.run_in_child_context(grouped, name="outer")
    return [total, caught(lambda: context.run_in_child_context(broken, name="broken"))]


def large_child(event: Any, context: Any) -> Any:
    pages = (
        boto3.client("lambda")
        .get_paginator("get_durable_execution_state")
        .paginate(
            DurableExecutionArn=event["DurableExecutionArn"],
            CheckpointToken=event["CheckpointToken"],
        )
    )
    STATES.append([operation for page in pages for operation in page["Operations"]])
    return _large_child(event, context)


@durable_execution
def _large_child(event: Any, context: DurableContext) -> Any:
    def small(child: DurableContext) -> int:
        return child.step(lambda _: 1, name="left out")

    def large(child: DurableContext) -> str:
        return LARGE * child.step(lambda _: "x", name="piece")

    context.run_in_child_context(small, name="small")
    text = context.run_in_child_context(large, name="large")
    context.wait(LATER, name="rest")
    state = [
        {
            "name": operation.get("Name"),
            "type": operation["Type"],
            "status": operation["Status"],
            "context": operation.get("ContextDetails"),
        }
        for operation in STATES[-1]
    ]
    return {"size": len(text), "kind": text[:1], "state": state}


def maps(event: Any, context: DurableContext) -> Any:
    def double(child: DurableContext, item: int, index: int, items: Sequence[Any]) -> int:
        return child.step(lambda _: item * 2, name=f"double {index}")

    config: MapConfig[Any] = MapConfig(nesting_type=NestingType(event["nesting"]))
    batch: Any = context.map(event["items"], double, name="doubled", config=config)
    return _summary(batch)


def checks(event: Any, context: DurableContext) -> Any:
    """Check items one after the other, by map or parallel."""

    def check(child: DurableContext, item: str) -> str:
        text: str = child.step(lambda _: item, name=f"read {item}")
        if text == "bad":
            raise ValueError("it is bad")
        return text

    def mapped(child: DurableContext, item: str, index: int, items: Sequence[Any]) -> str:
        return check(child, item)

    def branch(item: str) -> ParallelBranch[Any]:
        return ParallelBranch(lambda child: check(child, item), name=f"branch {item}")

    policy: dict[str, Any] = {
        "max_concurrency": 1,
        "completion_config": CompletionConfig(**event["completion"]),
        "nesting_type": NestingType(event["nesting"]),
    }
    items = event["items"]
    if event["by"] == "map":
        return _summary(context.map(items, mapped, name="checked", config=MapConfig(**policy)))
    branches: list[Any] = [branch(item) for item in items]
    return _summary(context.parallel(branches, name="checked", config=ParallelConfig(**policy)))


def stops_by_predicate(event: Any, context: DurableContext) -> Any:
    """Complete a batch by a predicate, which version 1 cannot do."""
    from aws_durable_execution_sdk_python import (  # noqa: PLC0415 - version 1 has none
        complete_batch,
        continue_batch,
    )
    from aws_durable_execution_sdk_python.config import (  # noqa: PLC0415 - likewise
        CompletionOutcome,
    )

    def decide(status: Any) -> Any:
        done = status.completed_count == event["after"]
        return complete_batch(CompletionOutcome(event["outcome"])) if done else continue_batch()

    def number(child: DurableContext, item: int, index: int, items: Sequence[Any]) -> int:
        return item

    config: MapConfig[Any] = MapConfig(
        max_concurrency=1, completion_config=CompletionConfig(should_complete=decide)
    )
    return _summary(context.map([1, 2, 3], number, name="checked", config=config))


def large_map(event: Any, context: DurableContext) -> Any:
    def piece(child: DurableContext, item: str, index: int, items: Sequence[Any]) -> str:
        return LARGE // 2 * child.step(lambda _: item, name=f"read {item}")

    config: MapConfig[Any] = MapConfig(max_concurrency=1)
    batch: Any = context.map(["x", "y"], piece, name="pieces", config=config)
    context.wait(LATER, name="rest")
    return [[len(each), each[:1]] for each in batch.get_results()]


def virtual_child(event: Any, context: DurableContext) -> Any:
    def grouped(child: DurableContext) -> list[int]:
        return [child.step(lambda _: 1, name="step 1"), child.step(lambda _: 2, name="step 2")]

    config: ChildConfig[Any] = ChildConfig(is_virtual=True)
    return context.run_in_child_context(grouped, name="unseen", config=config)


def races(event: Any, context: DurableContext) -> Any:
    def slow(branch: DurableContext) -> str:
        branch.wait(Duration.from_hours(1), name="long rest")
        return "slow"

    def fast(branch: DurableContext) -> str:
        branch.wait(LATER, name="short rest")
        return branch.step(lambda _: "fast", name="arrive")

    branches: list[Any] = [ParallelBranch(slow, name="tortoise"), ParallelBranch(fast, name="hare")]
    config = ParallelConfig(completion_config=CompletionConfig(min_successful=1))
    return _summary(context.parallel(branches, name="race", config=config))


def _summary(batch: Any) -> Any:
    items = [
        [each.index, each.status.value, each.result, each.error and each.error.message]
        for each in batch.all
    ]
    return {"reason": batch.completion_reason.value, "items": items}


def retries_a_block(event: Any, context: DurableContext) -> Any:
    def block(child: Any, attempt: int) -> str:
        child.step(lambda _: attempt, name=f"attempt {attempt}")
        if attempt == 1:
            raise ValueError("not at once")
        return f"done in {attempt}"

    def strategy(error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(LATER)

    return with_retry(context, block, WithRetryConfig(retry_strategy=strategy), name="order")
