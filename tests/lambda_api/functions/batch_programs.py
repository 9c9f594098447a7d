"""Handlers in groups and batches, written with the AWS SDK and nothing of ours.

They keep to what versions 1 and 3 of the SDK have in common.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import (
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelBranch,
    ParallelConfig,
)
from aws_durable_execution_sdk_python.exceptions import DurableExecutionsError
from aws_durable_execution_sdk_python.retries import (
    RetryDecision,
    WithRetryConfig,
    with_retry,
)

LARGE = 300_000
# Long enough for an invocation to end before, on a busy machine.
LATER = Duration.from_seconds(3)
# What the service answered to the wrapper of `large_child`, for its handler to return.
STATES: list[list[dict[str, Any]]] = []


@durable_execution
def nested(event: Any, context: DurableContext) -> Any:
    def deep(inner: DurableContext) -> int:
        return inner.step(lambda _: 2, name="deep step")

    def grouped(outer: DurableContext) -> list[int]:
        first = outer.step(lambda _: 1, name="first step")
        return [first, outer.run_in_child_context(deep, name="inner")]

    def broken(child: DurableContext) -> None:
        raise ValueError("not in here")

    total = context.run_in_child_context(grouped, name="outer")
    try:
        context.run_in_child_context(broken, name="broken")
    except DurableExecutionsError as error:
        return [total, type(error).__name__, str(error)]
    return "nothing was raised"


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


@durable_execution
def maps(event: Any, context: DurableContext) -> Any:
    def double(child: DurableContext, item: int, index: int, items: Sequence[Any]) -> int:
        return child.step(lambda _: item * 2, name=f"double {index}")

    config: MapConfig[Any] = MapConfig(nesting_type=NestingType(event["nesting"]))
    batch: Any = context.map(event["items"], double, name="doubled", config=config)
    return _told(batch)


@durable_execution
def maps_with_failures(event: Any, context: DurableContext) -> Any:
    def check(child: DurableContext, item: str, index: int, items: Sequence[Any]) -> str:
        if item == "bad":
            raise ValueError(f"item {index} is bad")
        return item

    config: MapConfig[Any] = MapConfig(
        max_concurrency=1,
        completion_config=CompletionConfig(tolerated_failure_count=event["tolerated"]),
    )
    return _told(context.map(event["items"], check, name="checked", config=config))


@durable_execution
def races(event: Any, context: DurableContext) -> Any:
    def slow(branch: DurableContext) -> str:
        branch.wait(Duration.from_seconds(60), name="long rest")
        return "slow"

    def fast(branch: DurableContext) -> str:
        branch.wait(LATER, name="short rest")
        return branch.step(lambda _: "fast", name="arrive")

    branches: list[Any] = [ParallelBranch(slow, name="tortoise"), ParallelBranch(fast, name="hare")]
    config = ParallelConfig(completion_config=CompletionConfig(min_successful=1))
    return _told(context.parallel(branches, name="race", config=config))


def _told(batch: Any) -> Any:
    items = [
        [each.index, each.status.value, each.result, each.error and each.error.message]
        for each in batch.all
    ]
    return {"reason": batch.completion_reason.value, "items": items}


@durable_execution
def retries_a_block(event: Any, context: DurableContext) -> Any:
    def block(child: Any, attempt: int) -> str:
        child.step(lambda _: attempt, name=f"attempt {attempt}")
        if attempt == 1:
            raise ValueError("not at once")
        return f"done in {attempt}"

    def strategy(error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(LATER)

    return with_retry(context, block, WithRetryConfig(retry_strategy=strategy), name="order")


@durable_execution
def logs(event: Any, context: DurableContext) -> Any:
    context.logger.info("before the rest", extra={"mark": event["mark"]})
    context.step(
        lambda step: step.logger.info("inside the step", extra={"mark": event["mark"]}),
        name="telling",
    )
    context.wait(LATER, name="rest")
    context.logger.info("after the rest", extra={"mark": event["mark"]})


@durable_execution
def many_steps(event: Any, context: DurableContext) -> Any:
    def value(number: int) -> int:
        return context.step(lambda _: number, name=f"step {number}")

    return sum(value(number) for number in range(event["steps"]))


def sdk_version(event: Any, context: Any) -> str:
    return version("aws-durable-execution-sdk-python")
