"""Programs written with the AWS SDK, versions 1 and 3: steps, waits and polls."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext
from aws_durable_execution_sdk_python.config import (
    Duration,
    MapConfig,
    NestingType,
    StepConfig,
    StepSemantics,
)
from aws_durable_execution_sdk_python.retries import RetryDecision
from aws_durable_execution_sdk_python.types import StepContext
from aws_durable_execution_sdk_python.waits import (
    WaitForConditionConfig,
    WaitForConditionDecision,
)
from words import LATER, caught, never, once_more


def step_then_wait(event: Any, context: DurableContext) -> Any:
    value = context.step(lambda _: event["q"] + 1, name="add")
    context.wait(LATER, name="rest")
    return value


def second_sample(event: Any, context: DurableContext) -> Any:
    """Run the reference's second recorded sample, with its times."""
    context.step(lambda _: {"k": 1}, name="first")
    context.wait(Duration.from_seconds(2), name="rest")
    context.step(fails_once(event["marker"]), name="flaky", config=StepConfig(after_a_second))
    polled = context.wait_for_condition(
        lambda state, _: state + 1, WaitForConditionConfig(until_two, 0), name="poll"
    )
    config: MapConfig[Any] = MapConfig(max_concurrency=1, nesting_type=NestingType.FLAT)
    batch: Any = context.map(
        [1, 2],
        lambda child, item, index, _: child.step(lambda _: item * 2, name=f"double {index}"),
        name="doubled",
        config=config,
    )
    return [polled, batch.get_results()]


def after_a_second(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(Duration.from_seconds(1))


def fails_once(marker: str) -> Callable[[StepContext], str]:
    def body(step: StepContext) -> str:
        path = Path(marker)
        if not path.exists():
            path.touch()
            raise ValueError("flaky")
        return "steady"

    return body


def until_two(state: int, attempt: int) -> WaitForConditionDecision:
    if state < 2:
        return WaitForConditionDecision.continue_waiting(Duration.from_seconds(3))
    return WaitForConditionDecision.stop_polling()


def poll_fails(event: Any, context: DurableContext) -> Any:
    def check(state: int, polling: Any) -> int:
        if state == 1:
            raise ValueError("no state")
        return state + 1

    config = WaitForConditionConfig(until_two, 0)
    return caught(lambda: context.wait_for_condition(check, config, name="poll"))


def fails_twice(event: Any, context: DurableContext) -> Any:
    return context.step(boom, name="bad", config=StepConfig(once_more))


def boom(step: StepContext) -> None:
    raise ValueError("boom")


def at_most_once(event: Any, context: DurableContext) -> Any:
    config = StepConfig(never, StepSemantics.AT_MOST_ONCE_PER_RETRY)
    paid = context.step(lambda _: "paid", name="pay", config=config)
    return [paid, caught(lambda: context.step(boom, name="bad", config=config))]


def dies_in_a_step(event: Any, context: DurableContext) -> Any:
    """Kill the process in the first run of the body."""

    def body(step: StepContext) -> str:
        marker = Path(event["marker"])
        if not marker.exists():
            marker.touch()
            wait_recorded(context, "StepStarted")
            os.kill(os.getpid(), signal.SIGKILL)
        return "paid"

    config = StepConfig(once_more if event["again"] else never, StepSemantics(event["semantics"]))
    return caught(lambda: context.step(body, name="pay", config=config))


def wait_recorded(context: DurableContext, kind: str) -> None:
    """Wait until the execution's history has an event of this type."""
    arn = context.execution_context.durable_execution_arn
    client = boto3.client("lambda")
    kinds: list[str] = []
    while kind not in kinds:
        page = client.get_durable_execution_history(DurableExecutionArn=arn)
        kinds = [event["EventType"] for event in page["Events"]]


def many_steps(event: Any, context: DurableContext) -> Any:
    def value(number: int) -> int:
        return context.step(lambda _: number, name=f"step {number}")

    return sum(value(number) for number in range(event["steps"]))


def logs(event: Any, context: DurableContext) -> Any:
    context.logger.info("before the rest", extra={"mark": event["mark"]})
    context.step(
        lambda step: step.logger.info("inside the step", extra={"mark": event["mark"]}),
        name="telling",
    )
    context.wait(LATER, name="rest")
    context.logger.info("after the rest", extra={"mark": event["mark"]})


def large_result(event: Any, context: DurableContext) -> Any:
    return "x" * event["size"]


def large_error(event: Any, context: DurableContext) -> Any:
    raise ValueError("x" * event["size"])


def large_step_error(event: Any, context: DurableContext) -> Any:
    """Catch the error as it was raised, then again in an invocation that reads the record."""

    def refuse(step: StepContext) -> None:
        raise ValueError("x" * event["size"])

    raised = caught(lambda: context.step(refuse, name="bad", config=StepConfig(never)))
    size = len(raised["raised"])
    first = context.step(lambda _: size, name="first")
    context.wait(LATER, name="rest")
    return [first, size]
