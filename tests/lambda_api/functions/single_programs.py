"""Handlers written with the AWS SDK, versions 1 and 3: each operation by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import (
    CallbackConfig,
    Duration,
    StepConfig,
    StepSemantics,
)
from aws_durable_execution_sdk_python.exceptions import DurableExecutionsError
from aws_durable_execution_sdk_python.retries import RetryDecision
from aws_durable_execution_sdk_python.types import StepContext
from aws_durable_execution_sdk_python.waits import (
    WaitForConditionConfig,
    WaitForConditionDecision,
)

# Long enough for an invocation to end before, on a busy machine.
LATER = Duration.from_seconds(3)


def once_more(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(LATER) if attempt == 1 else RetryDecision.no_retry()


def never(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.no_retry()


def caught(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the message of what it raises: types differ by version."""
    try:
        return call()
    except DurableExecutionsError as error:
        return {"raised": str(error)}


@durable_execution
def step_then_wait(event: Any, context: DurableContext) -> Any:
    value = context.step(lambda _: event["q"] + 1, name="add")
    context.wait(LATER, name="rest")
    return value


@durable_execution
def step_wait_retry_poll(event: Any, context: DurableContext) -> Any:
    context.step(lambda _: {"k": 1}, name="first")
    context.wait(LATER, name="rest")
    context.step(fails_once(event["marker"]), name="flaky", config=StepConfig(once_more))
    return context.wait_for_condition(
        lambda state, _: state + 1, WaitForConditionConfig(until_two, 0), name="poll"
    )


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
        return WaitForConditionDecision.continue_waiting(LATER)
    return WaitForConditionDecision.stop_polling()


@durable_execution
def fails_twice(event: Any, context: DurableContext) -> Any:
    return context.step(boom, name="bad", config=StepConfig(once_more))


def boom(step: StepContext) -> None:
    raise ValueError("boom")


@durable_execution
def at_most_once(event: Any, context: DurableContext) -> Any:
    config = StepConfig(never, StepSemantics.AT_MOST_ONCE_PER_RETRY)
    paid = context.step(lambda _: "paid", name="pay", config=config)
    return [paid, caught(lambda: context.step(boom, name="bad", config=config))]


@durable_execution
def asks(event: Any, context: DurableContext) -> Any:
    config = CallbackConfig(
        timeout=Duration.from_seconds(event["timeout"]),
        heartbeat_timeout=Duration.from_seconds(event["heartbeat"]),
    )
    callback = context.create_callback(name="approval", config=config)
    return caught(callback.result)


@durable_execution
def waits_for_callback(event: Any, context: DurableContext) -> Any:
    return context.wait_for_callback(lambda identifier, _: None, name="approval")


@durable_execution
def waits_beside_a_callback(event: Any, context: DurableContext) -> Any:
    callback = context.create_callback(name="approval")
    context.wait(Duration.from_seconds(event["seconds"]), name="rest")
    return callback.result()


@durable_execution
def invokes(event: Any, context: DurableContext) -> Any:
    return caught(lambda: context.invoke(event["target"], event["payload"], name="other"))


@durable_execution
def target(event: Any, context: DurableContext) -> Any:
    if event["fails"]:
        raise ValueError("target")
    return {"echo": event}


@durable_execution
def slow_target(event: Any, context: DurableContext) -> Any:
    context.wait(Duration.from_seconds(60), name="long")


@durable_execution
def large_result(event: Any, context: DurableContext) -> Any:
    return "x" * event["size"]


@durable_execution
def large_error(event: Any, context: DurableContext) -> Any:
    raise ValueError("x" * event["size"])


@durable_execution
def large_step_error(event: Any, context: DurableContext) -> Any:
    """Catch it as it was raised; then look again in an invocation that reads what was recorded."""

    def refuse(_: Any) -> Any:
        raise ValueError("x" * event["size"])

    size = 0
    try:
        context.step(refuse, name="refuse", config=StepConfig(never))
    except DurableExecutionsError as error:
        size = len(str(error))
    first = context.step(lambda _: size, name="first")
    context.wait(Duration.from_seconds(1), name="rest")
    return [first, size]
