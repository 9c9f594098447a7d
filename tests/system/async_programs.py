"""Async functions for tests of the whole system."""

import asyncio
from typing import Any

from perdure import AsyncDurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration
from tests.system.ledger import Entry, write_down


@durable_step
async def fetch(step: StepContext, order: str, number: int) -> int:
    """Write a line into the ledger, and return a value, after a moment."""
    write_down(Entry(order=order, who=f"fetch {number}", what="runs", attempt=step.attempt))
    await asyncio.sleep(0.01)
    return number


@durable_step
def add_up(_step: StepContext, numbers: list[int]) -> int:
    """Add numbers, in a thread."""
    return sum(numbers)


@durable_execution
async def gathering(event: dict[str, Any], context: AsyncDurableContext) -> int:
    """Fetch side by side, wait for a callback meanwhile, and add everything up."""
    order, count = event["order"], event["count"]
    config = CallbackConfig(timeout=Duration.from_minutes(10))
    callback = await context.create_callback("answer", config)
    fetched = asyncio.gather(*(context.step(fetch(order, number)) for number in range(count)))
    numbers, _ = await asyncio.gather(fetched, context.wait(Duration.from_seconds(1), "nap"))
    answer = int(await callback.result())
    return await context.step(add_up([*numbers, answer]))


@durable_execution
async def doubling(event: int, context: AsyncDurableContext) -> int:
    """Invoke itself with a smaller number, down to one."""
    if event <= 1:
        return 1
    return 2 * int(await context.invoke("doubling", event - 1, "half"))
