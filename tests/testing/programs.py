"""Small durable functions that tests of the testing kit run."""

from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration, StepConfig
from perdure.retries import RetryPresets

YEAR = Duration.from_days(365)


@durable_step
def double(_context: StepContext, number: int) -> int:
    return 2 * number


@durable_execution(name="approval")
def approval(event: Any, context: DurableContext) -> dict[str, Any]:
    """Double a number, have it approved, rest for a day."""
    doubled = context.step(double(event["number"]))
    callback = context.create_callback(
        "approval", CallbackConfig(timeout=Duration.from_hours(3), heartbeat_timeout=Duration(600))
    )
    answer = callback.result()
    context.wait(Duration.from_days(1), name="rest")
    return {"doubled": doubled, "answer": answer}


@durable_execution(name="nested")
def nested(event: Any, context: DurableContext) -> int:
    """Add up the results of steps inside two contexts, with waits between them."""

    def inner(child: DurableContext) -> int:
        first = child.step(double(1), name="first")
        child.wait(Duration(5), name="pause")
        return first + child.step(double(2), name="second")

    total = context.run_in_child_context(inner, name="one")
    context.wait(Duration(5), name="between")
    return total + context.run_in_child_context(inner, name="two")


@durable_execution(name="quick")
def quick(event: Any, context: DurableContext) -> int:
    """Double a number in a context."""
    return context.run_in_child_context(
        lambda child: child.step(double(event["number"])), name="inside"
    )


class Flaky:
    """A step's body that fails a few times first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0

    def __call__(self, context: StepContext) -> int:
        self.runs += 1
        if context.attempt <= self.failures:
            raise ConnectionError(f"attempt {context.attempt}")
        return context.attempt


def flaky(body: Flaky) -> Any:
    """Return a handler that runs `body` as a step."""

    def handler(_event: Any, context: DurableContext) -> int:
        config = StepConfig(retry_strategy=RetryPresets.default())
        return context.step(body, name="flaky", config=config)

    return handler
