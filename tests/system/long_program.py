"""A function with a given number of steps, for tests and benchmarks of long histories."""

from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import Duration


@durable_step
def add_one(_step: StepContext, number: int) -> int:
    """Add one."""
    return number + 1


@durable_execution
def long(event: dict[str, Any], context: DurableContext) -> int:
    """Run so many steps, one after the other, wait for so many seconds, and run one step more."""
    number = 0
    for _ in range(event["steps"]):
        number = context.step(add_one(number))
    context.wait(Duration.from_seconds(event["sleep_s"]), name="sleep")
    return context.step(add_one(number), name="awake")
