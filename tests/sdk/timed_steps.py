"""Handlers of one step whose body has each possible form, and the failures of their attempts."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableFunction, StepContext
from perdure.config import Duration, StepConfig
from perdure.testing import DurableFunctionTestRunner
from perdure_core.events import StepFailed
from tests.sdk.hosted import Hosted, async_handler, handler

Body = Callable[[StepContext], Any]
Make = Callable[[Body, StepConfig], DurableFunction]

# Real time: so little of it that a test notices nothing.
SOON = Duration.from_milliseconds(20)


def sync_step(body: Body, config: StepConfig) -> DurableFunction:
    return handler(lambda _, context: context.step(body, "work", config))


def async_step(body: Body, config: StepConfig) -> DurableFunction:
    async def work(step: StepContext) -> Any:
        return body(step)

    async def handle(_: Any, context: AsyncDurableContext) -> Any:
        return await context.step(work, "work", config)

    return async_handler(handle)


def threaded_step(body: Body, config: StepConfig) -> DurableFunction:
    async def handle(_: Any, context: AsyncDurableContext) -> Any:
        return await context.step(body, "work", config)

    return async_handler(handle)


EVERYWHERE = pytest.mark.parametrize("make", [sync_step, async_step, threaded_step])
IN_THREADS = pytest.mark.parametrize("make", [sync_step, threaded_step])


def failures(host: Hosted) -> list[tuple[str | None, int | None]]:
    return [
        (event.error.type, event.next_attempt_delay_ms)
        for event in host.events
        if isinstance(event, StepFailed)
    ]


def real_time(function: DurableFunction) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(function, skip_time=False)


def failure_message(function: DurableFunction) -> str | None:
    """Run an execution that fails; return its message."""
    with real_time(function) as runner:
        error = runner.run().error
    assert error is not None
    return error.message
