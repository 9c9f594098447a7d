"""Programs with every operation, for tests of plugins.

They are written as async handlers are; `as_blocking` makes ordinary handlers of them.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from perdure import AsyncDurableContext, DurableOperationError, WithRetryConfig, with_retry
from perdure.config import (
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionConfig, WaitStrategyConfig, create_wait_strategy

Program = Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]

SOON = RetryPresets.fixed(Duration(1))
AT_MOST_ONCE = StepConfig(SOON, StepSemantics.AT_MOST_ONCE_PER_RETRY)
FLAT, NESTED = NestingType.FLAT, NestingType.NESTED


def flaky(failures: int) -> Callable[[Any], int]:
    def body(step_context: Any) -> int:
        if step_context.attempt <= failures:
            raise OSError("flaky")
        return int(step_context.attempt)

    return body


async def busy(context: AsyncDurableContext) -> list[Any]:
    """Run every kind of operation in one context; one step in a thread, one on the loop."""

    async def end(_: Any) -> str:
        return "end"

    first = await context.step(flaky(1), "flaky", StepConfig(SOON))
    await context.wait(Duration(5), "nap")
    return [first, await context.step(end, "end")]


async def nested(context: AsyncDurableContext) -> Any:
    async def body(child: AsyncDurableContext) -> Any:
        return [await busy(child), await child.run_in_child_context(busy, "inner")]

    return await context.run_in_child_context(body, "outer")


async def virtual(context: AsyncDurableContext) -> Any:
    config = ChildConfig[Any](is_virtual=True)
    return await context.run_in_child_context(busy, "virtual", config)


async def failing_child(context: AsyncDurableContext) -> Any:
    async def body(child: AsyncDurableContext) -> None:
        await busy(child)
        raise ValueError("after all")

    try:
        await context.run_in_child_context(body, "child")
    except DurableOperationError as error:
        return [await busy(context), str(error), error.error_type]


async def large_child(context: AsyncDurableContext) -> Any:
    async def body(child: AsyncDurableContext) -> str:
        return str(await busy(child)) * 30_000

    large = await context.run_in_child_context(body, "large")
    return [len(large), await busy(context)]


async def interrupted(context: AsyncDurableContext) -> Any:
    # A crash spends an attempt of an at-most-once step, so its number is no result.
    return [await context.step(flaky(0), f"once-{n}", AT_MOST_ONCE) > 0 for n in range(2)]


async def callback(context: AsyncDurableContext) -> Any:
    async def submit(_id: str, _context: Any) -> None: ...

    return [await context.wait_for_callback(submit, "ask"), await busy(context)]


async def late_callback(context: AsyncDurableContext) -> Any:
    config = WaitForCallbackConfig(timeout=Duration(3))
    try:
        await context.wait_for_callback(lambda _id, _context: None, "late", config)
    except DurableOperationError as error:
        return [type(error).__name__, await busy(context)]


async def condition(context: AsyncDurableContext) -> Any:
    async def check(state: int, _: Any) -> int:
        return state + 1

    strategy = create_wait_strategy(WaitStrategyConfig[int](lambda state: state < 3))
    return await context.wait_for_condition(check, WaitForConditionConfig(strategy, 0), "poll")


async def invoked(context: AsyncDurableContext) -> Any:
    return [await context.invoke("other", 1, "call"), await busy(context)]


async def retried(context: AsyncDurableContext) -> Any:
    async def block(inner: AsyncDurableContext, attempt: int) -> list[Any]:
        done = await busy(inner)
        if attempt == 1:
            raise OSError("once more")
        return done

    return await with_retry(context, block, WithRetryConfig(SOON), "block")


def batch(nesting: NestingType, concurrency: int | None) -> Program:
    async def program(context: AsyncDurableContext) -> Any:
        async def item(inner: AsyncDurableContext, number: int, *_: Any) -> Any:
            if number == 1:
                raise ValueError("one of them")
            return [number, await busy(inner)]

        config = MapConfig[int](concurrency, CompletionConfig.all_completed(), nesting_type=nesting)
        result = await context.map([0, 1, 2], item, "map", config)
        return [result.get_results(), result.failure_count, await busy(context)]

    return program


async def batches(context: AsyncDurableContext) -> Any:
    async def leaf(inner: AsyncDurableContext) -> Any:
        return await inner.step(flaky(0))

    async def item(inner: AsyncDurableContext, number: int, *_: Any) -> Any:
        config = ParallelConfig(nesting_type=FLAT if number else NESTED)
        return (await inner.parallel([busy, leaf], None, config)).get_results()

    return [(await context.map([0, 1], item, "map")).get_results(), await busy(context)]


def large_batch(nesting: NestingType) -> Program:
    async def program(context: AsyncDurableContext) -> Any:
        async def item(inner: AsyncDurableContext, number: int, *_: Any) -> str:
            return str([number, await busy(inner)]) * 5_000

        result = await context.map([0, 1, 2], item, "map", MapConfig(nesting_type=nesting))
        return [[len(text) for text in result.get_results()], await busy(context)]

    return program


PROGRAMS: dict[str, Program] = {
    "busy": busy,
    "nested": nested,
    "virtual": virtual,
    "failing child": failing_child,
    "large child": large_child,
    "interrupted": interrupted,
    "callback": callback,
    "late callback": late_callback,
    "condition": condition,
    "invoked": invoked,
    "retried": retried,
    "nested batch": batch(NESTED, None),
    "nested batch, one at a time": batch(NESTED, 1),
    "flat batch": batch(FLAT, None),
    "flat batch, two at a time": batch(FLAT, 2),
    "batches": batches,
    "large nested batch": large_batch(NESTED),
    "large flat batch": large_batch(FLAT),
}
