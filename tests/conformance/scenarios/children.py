"""Child contexts: nested, failing, virtual, with results too large to store; and retried blocks."""

from typing import Any

from perdure import AsyncDurableContext, ChildContextError, WithRetryConfig, with_retry
from perdure.config import ChildConfig
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import busy, busy_at, once_more, soon

# More than is kept of a result: 262,144 bytes.
LARGE = 300_000


@scenario(
    End.succeeded([[2, "end"], [2, "end"]]),
    f"""
    1 ContextStarted 'outer' as RunInChildContext
    {busy_at("1-1", "1-2", "1-3")}
    1-4 ContextStarted 'inner' as RunInChildContext
    {busy_at("1-4-1", "1-4-2", "1-4-3")}
    1-4 ContextSucceeded 'inner' as RunInChildContext · = [2,"end"]
    1 ContextSucceeded 'outer' as RunInChildContext · = [[2,"end"],[2,"end"]]
    """,
)
async def children_are_nested(context: AsyncDurableContext) -> Any:
    async def outer(child: AsyncDurableContext) -> list[Any]:
        return [await busy(child), await child.run_in_child_context(busy, "inner")]

    return await context.run_in_child_context(outer, "outer")


@scenario(
    End.succeeded(["after all", "went on"]),
    """
    1 ContextStarted 'child' as RunInChildContext
    1-1 StepStarted 'before'
    1-1 StepSucceeded 'before' · = 1 · attempt 1
    1 ContextFailed 'child' as RunInChildContext · ValueError: after all
    2 StepStarted 'after'
    2 StepSucceeded 'after' · = "went on" · attempt 1
    """,
)
async def child_fails(context: AsyncDurableContext) -> list[Any]:
    async def body(child: AsyncDurableContext) -> None:
        await child.step(lambda _: 1, "before")
        raise ValueError("after all")

    try:
        await context.run_in_child_context(body, "child")
    except ChildContextError as error:
        return [error.message, await context.step(lambda _: "went on", "after")]
    return []


@scenario(
    End.succeeded([[2, "end"], [2, "end"]]),
    f"""
    {busy_at("1-1", "1-2", "1-3", parent="the execution")}
    {busy_at("2", "3", "4")}
    """,
)
async def virtual_child_records_nothing_itself(context: AsyncDurableContext) -> list[Any]:
    config = ChildConfig[Any](is_virtual=True)
    virtual = await context.run_in_child_context(busy, "virtual", config)
    return [virtual, await busy(context)]


@scenario(
    End.succeeded([LARGE, [2, "end"]]),
    f"""
    1 ContextStarted 'large' as RunInChildContext
    1-1 StepStarted 'small'
    1-1 StepSucceeded 'small' · = "x" · attempt 1
    1 ContextSucceeded 'large' as RunInChildContext · = 300,002 characters (bc44fe64)
    {busy_at("2", "3", "4")}
    """,
)
async def large_child_is_kept_whole(context: AsyncDurableContext) -> list[Any]:
    async def body(child: AsyncDurableContext) -> str:
        return await child.step(lambda _: "x", "small") * LARGE

    large = await context.run_in_child_context(body, "large")
    return [len(large), await busy(context)]


async def at_the_second_try(inner: AsyncDurableContext, attempt: int) -> int:
    """Run a durable operation, and fail the first time."""
    done = await inner.step(lambda _: attempt, f"try {attempt}")
    if attempt == 1:
        raise OSError("once more")
    return done


@scenario(
    End.succeeded(2),
    """
    1 ContextStarted 'block' as RunInChildContext
    1-1 StepStarted 'try 1'
    1-1 StepSucceeded 'try 1' · = 1 · attempt 1
    1-2 WaitStarted 'block-backoff-1' · ms 50
    1-2 WaitSucceeded 'block-backoff-1' · ms 50
    1-3 StepStarted 'try 2'
    1-3 StepSucceeded 'try 2' · = 2 · attempt 1
    1 ContextSucceeded 'block' as RunInChildContext · = 2
    """,
)
async def block_is_tried_again(context: AsyncDurableContext) -> int:
    return await with_retry(context, at_the_second_try, WithRetryConfig(soon), "block")


@scenario(
    End.succeeded(2),
    """
    1 StepStarted 'try 1'
    1 StepSucceeded 'try 1' · = 1 · attempt 1
    2 WaitStarted 'block-backoff-1' · ms 50
    2 WaitSucceeded 'block-backoff-1' · ms 50
    3 StepStarted 'try 2'
    3 StepSucceeded 'try 2' · = 2 · attempt 1
    """,
)
async def block_is_tried_again_without_a_context(context: AsyncDurableContext) -> int:
    config = WithRetryConfig[int](soon, wrap_with_run_in_child_context=False)
    return await with_retry(context, at_the_second_try, config, "block")


@scenario(
    End.failed("perdure.exceptions.ChildContextError", "never"),
    """
    1 ContextStarted 'block' as RunInChildContext
    1-1 StepStarted 'try 1'
    1-1 StepSucceeded 'try 1' · = 1 · attempt 1
    1-2 WaitStarted 'block-backoff-1' · ms 50
    1-2 WaitSucceeded 'block-backoff-1' · ms 50
    1-3 StepStarted 'try 2'
    1-3 StepSucceeded 'try 2' · = 2 · attempt 1
    1 ContextFailed 'block' as RunInChildContext · OSError: never
    """,
)
async def block_is_given_up(context: AsyncDurableContext) -> None:
    async def block(inner: AsyncDurableContext, attempt: int) -> None:
        await inner.step(lambda _: attempt, f"try {attempt}")
        raise OSError("never")

    await with_retry(context, block, WithRetryConfig(once_more), "block")
