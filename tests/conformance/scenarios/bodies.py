"""Bodies of handlers and steps in scenarios, and their retry strategies."""

from collections.abc import Callable, Coroutine
from typing import Any

from perdure import AsyncDurableContext, StepContext
from perdure.config import Duration, StepConfig
from perdure.retries import RetryDecision

Branch = Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]

# Live servers wait for it in real time.
TICK = Duration.from_milliseconds(50)


def soon(_error: Exception, attempt: int) -> RetryDecision:
    """Retry every error at once, for five attempts in all."""
    return RetryDecision.retry(TICK) if attempt < 5 else RetryDecision.no_retry()


def once_more(_error: Exception, attempt: int) -> RetryDecision:
    """Retry every error once."""
    return RetryDecision.retry(TICK) if attempt == 1 else RetryDecision.no_retry()


def never(_error: Exception, _attempt: int) -> RetryDecision:
    """Retry nothing."""
    return RetryDecision.no_retry()


def flaky(failures: int) -> Callable[[StepContext], int]:
    """Return a body that fails so often, and then returns the number of its attempt."""

    def body(step: StepContext) -> int:
        if step.attempt <= failures:
            raise OSError("flaky")
        return step.attempt

    return body


def failing(message: str) -> Callable[[Any], None]:
    """Return a body that always fails."""

    def body(_: Any) -> None:
        raise ValueError(message)

    return body


async def doubled(context: AsyncDurableContext, item: int, *_: Any) -> int:
    """Double an item in a step; refuse 13."""
    if item == 13:
        raise ValueError("bad luck")
    return await context.step(lambda _: 2 * item, "double")


def one(value: int) -> Branch:
    """Return a branch that succeeds."""

    async def branch(context: AsyncDurableContext) -> int:
        return await context.step(lambda _: value, "one")

    return branch


async def busy(context: AsyncDurableContext) -> list[Any]:
    """Run three operations in one context: a step that is retried, a wait, a step."""
    first = await context.step(flaky(1), "flaky", StepConfig(soon))
    await context.wait(TICK, "nap")
    return [first, await context.step(_end, "end")]


async def _end(_: StepContext) -> str:
    return "end"


def busy_at(first: str, nap: str, end: str, parent: str = "") -> str:
    """Return the history lines of `busy`, whose three operations are at these places.

    `parent` is the context that recorded them, where their places do not show it.
    """
    inside = f" in {parent}" if parent else ""
    return f"""
    {first} StepStarted 'flaky'{inside}
    {first} StepFailed 'flaky'{inside} · OSError: flaky · attempt 1 · again in 50 ms
    {first} StepStarted 'flaky'{inside}
    {first} StepSucceeded 'flaky'{inside} · = 2 · attempt 2
    {nap} WaitStarted 'nap'{inside} · ms 50
    {nap} WaitSucceeded 'nap'{inside} · ms 50
    {end} StepStarted 'end'{inside}
    {end} StepSucceeded 'end'{inside} · = "end" · attempt 1
    """.strip()
