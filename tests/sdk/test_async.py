"""Async handlers: the operations as coroutines, side by side, on the rules of all handlers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from perdure import (
    AsyncDurableContext,
    CallbackExternalError,
    StepContext,
    StepError,
    ValidationError,
    durable_step,
)
from perdure.config import Duration, StepConfig
from perdure.retries import RetryPresets
from perdure.worker_api import Failed, Outcome, Pending, Succeeded
from perdure_core.model import ErrorObject
from tests.sdk.hosted import hosted_async

Body = Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]


def finished(body: Body) -> Outcome:
    return hosted_async(body).finish()


@durable_step
async def later(_: StepContext, value: int) -> int:
    """Return a value, not at once."""
    await asyncio.sleep(0)
    return value


@durable_step
def plain(_: StepContext, value: int) -> int:
    """Return a value."""
    return value


def test_a_handler_waits_for_steps_for_time_and_for_people() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        first = await context.step(plain(1))
        await context.wait(Duration(5))
        callback = await context.create_callback("ask")
        return [first, await callback.result(), await context.step(later(2))]

    host = hosted_async(body)
    assert host.run() == Pending()
    host.pass_time()
    assert host.run() == Pending()
    host.succeed_callback("yes")
    assert host.run() == Succeeded('[1, "yes", 2]')
    assert [op.name for op in host.state.operations.values()] == ["plain", None, "ask", "later"]


def test_a_callback_that_fails_raises_where_its_result_is_awaited() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        callback = await context.create_callback()
        with pytest.raises(CallbackExternalError, match="no"):
            await callback.result()
        return "told"

    host = hosted_async(body)
    host.run()
    host.fail_callback(ErrorObject("no", "Refusal"))
    assert host.run() == Succeeded('"told"')


@pytest.mark.parametrize("failing", ["plain", "coroutine"])
def test_a_step_is_retried_and_then_fails(failing: str) -> None:
    attempts: list[int] = []

    def fail(step: StepContext) -> None:
        attempts.append(step.attempt)
        raise OSError("down")

    async def fail_later(step: StepContext) -> None:
        fail(step)

    async def body(context: AsyncDurableContext) -> Any:
        config = StepConfig(RetryPresets.fixed(Duration(1)))
        with pytest.raises(StepError, match="down"):
            await context.step(fail if failing == "plain" else fail_later, "it", config)
        return "gave up"

    assert finished(body) == Succeeded('"gave up"')
    assert attempts == [1, 2, 3, 4, 5]


def test_what_a_handler_raises_fails_the_execution() -> None:
    async def body(_: AsyncDurableContext) -> Any:
        raise ValueError("wrong")

    outcome = finished(body)
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "wrong")


def test_operations_that_are_gathered_are_known_by_the_order_of_their_calls() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        waits = [context.wait(Duration(5 - n), f"wait {n}") for n in range(3)]
        steps = [context.step(later(n), f"step {n}") for n in range(3)]
        return await asyncio.gather(*waits, *steps)

    host = hosted_async(body)
    assert host.finish() == Succeeded("[null, null, null, 0, 1, 2]")
    assert len(host.outcomes) == 4
    names = {op.name for op in host.state.operations.values()}
    assert names == {f"{kind} {n}" for kind in ("wait", "step") for n in range(3)}


def test_a_value_that_no_operation_takes_is_refused_at_the_call() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        with pytest.raises(ValidationError):
            await context.wait(Duration(0))
        return "refused"

    assert finished(body) == Succeeded('"refused"')
