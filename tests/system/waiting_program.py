"""Thousands of steps that wait until a file appears, each at most once or at least once."""

import asyncio
import os
from pathlib import Path

from perdure import AsyncDurableContext, StepContext, durable_execution
from perdure.config import StepConfig, StepSemantics
from tests.system.ledger import Entry, write_down

FILE_VARIABLE = "PERDURE_TEST_GO"
ONCE = StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)


@durable_execution
async def waiting(event: dict[str, bool], context: AsyncDurableContext) -> str:
    """Run one step until the file is there."""

    async def wait(step: StepContext) -> str:
        write_down(Entry(order=context.execution_context.durable_execution_arn, who="", what=""))
        # Another process makes the file: there is no event to wait for.
        while not Path(os.environ[FILE_VARIABLE]).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(1)
        return "waited"

    config = ONCE if event["once"] else None
    result: str = await context.step(wait, name="wait", config=config)
    return result
