"""Functions of the workloads, each as an ordinary handler and as an async one."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from perdure import DurableContext, durable_execution
from perdure.config import CallbackConfig, Duration

ASKING = CallbackConfig(timeout=Duration.from_minutes(10))


def add_one(number: int) -> Callable[[Any], int]:
    """Return the body of a step that adds one."""
    return lambda _step: number + 1


@durable_execution
def steps(event: int, context: DurableContext) -> int:
    """Run as many steps as the event says, one after the other."""
    number = 0
    for _ in range(event):
        number = context.step(add_one(number), name="add")
    return number


@durable_execution
async def steps_async(event: int, context: Any) -> int:
    """Run as many steps as the event says, one after the other."""
    number = 0
    for _ in range(event):
        number = await context.step(add_one(number), name="add")
    return number


def _left(until_s: float) -> Duration:
    return Duration.from_seconds(max(1, math.ceil(until_s - time.time())))


@durable_execution
def rising(event: float, context: DurableContext) -> str:
    """Wait until a time of the wall clock, or at most a second longer."""
    context.wait(_left(event), name="sleep")
    return "awake"


@durable_execution
async def rising_async(event: float, context: Any) -> str:
    """Wait until a time of the wall clock, or at most a second longer."""
    await context.wait(_left(event), name="sleep")
    return "awake"


@durable_execution
def asking(_event: Any, context: DurableContext) -> Any:
    """Wait for a callback, and return its result."""
    return context.create_callback(name="answer", config=ASKING).result()


@durable_execution
async def asking_async(_event: Any, context: Any) -> Any:
    """Wait for a callback, and return its result."""
    callback = await context.create_callback(name="answer", config=ASKING)
    return await callback.result()


@durable_execution
def mapping(event: int, context: DurableContext) -> int:
    """Map over as many items as the event says, with one step each."""

    def item(child: DurableContext, number: int, _index: int, _items: Any) -> int:
        return child.step(add_one(number), name="add")

    return len(context.map(range(event), item, name="map").get_results())


@durable_execution
async def mapping_async(event: int, context: Any) -> int:
    """Map over as many items as the event says, with one step each."""

    async def item(child: Any, number: int, _index: int, _items: Any) -> int:
        step: Awaitable[int] = child.step(add_one(number), name="add")
        return await step

    return len((await context.map(range(event), item, name="map")).get_results())
