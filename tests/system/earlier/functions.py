"""Functions whose executions the databases of this folder hold, begun and not ended.

Must stay true: only what users import is used, so that the same file runs on the commit that made
the databases and on every later one; and no function changes what it asks for, since histories say
what that was. While the databases are made (`make.py`), some bodies hang, fail or are of another
opinion. Whatever waits here waits for an hour, which has passed when the databases are opened.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from perdure import (
    AsyncDurableContext,
    DurableContext,
    InvocationError,
    ParallelBranch,
    PlainContext,
    StepContext,
    WithRetryConfig,
    durable_execution,
    plain_function,
    with_retry,
)
from perdure.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from perdure.retries import RetryDecision, RetryPresets
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision

T = TypeVar("T")

# Set while the databases are made.
MAKING: Final = "PERDURE_TEST_MAKING" in os.environ

HOUR: Final = Duration.from_hours(1)
# Longer than an hour, so that it is still open when the databases are opened.
YEAR: Final = Duration.from_days(365)


def hang() -> None:
    """Hang while the databases are made."""
    if MAKING:
        threading.Event().wait()


def after(delay: Duration, attempts: int = 5) -> Callable[[Exception, int], RetryDecision]:
    """Return a strategy that tries again after the same delay."""

    def decide(_error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(delay) if attempt < attempts else RetryDecision.no_retry()

    return decide


def same(value: T) -> Callable[..., T]:
    """Return a body that returns the value."""
    return lambda *_: value


@durable_execution
def returns(event: Any, _context: DurableContext) -> Any:
    """Return the event."""
    return event


@durable_execution
def raises(event: str, _context: DurableContext) -> None:
    """Raise the event."""
    raise ValueError(event)


@durable_execution
def waits(event: Any, context: DurableContext) -> list[Any]:
    """Wait for an hour; return what the execution began with."""
    context.wait(HOUR, "hour")
    return ["waited", event]


@durable_execution
def waits_long(_event: Any, context: DurableContext) -> None:
    """Wait for longer than the execution may take."""
    context.wait(YEAR, "year")


@durable_execution(execution_timeout=Duration.from_seconds(1))
def waits_too_long(_event: Any, context: DurableContext) -> None:
    """Wait for longer than the function may take, which is a second."""
    context.wait(HOUR, "hour")


@durable_execution(execution_timeout=Duration.from_minutes(30))
def waits_somewhat_too_long(_event: Any, context: DurableContext) -> None:
    """Wait for longer than the function may take, which is half an hour."""
    context.wait(YEAR, "year")


@durable_execution(tenant_isolation=True)
def waits_for_a_tenant(event: Any, context: DurableContext) -> Any:
    """Wait for an hour on behalf of a tenant."""
    context.wait(HOUR, "hour")
    return event


@durable_execution
def creates_waits(_event: Any, context: DurableContext) -> list[Any]:
    """Go on beside two waits, one of which is cancelled."""
    kept = context.create_wait(HOUR, "kept")
    cancelled = context.create_wait(YEAR, "cancelled")
    was_open = cancelled.cancel()
    kept.result()
    return [was_open, cancelled.cancel()]


@durable_execution
def does_steps(event: int, context: DurableContext) -> list[Any]:
    """Do a step, hang in the next one, and do a third."""
    first = context.step(same(event + 1), "first")

    def second(step: StepContext) -> list[Any]:
        hang()
        return [step.attempt, step.idempotency_key]

    attempt, key = context.step(second, "second")
    again = context.step(lambda step: len(step.idempotency_key) == len(key), "third")
    return [first, attempt, again]


@durable_execution
def retries(_event: Any, context: DurableContext) -> list[Any]:
    """Fail the first attempt, and tell the next one how far it came."""

    def copy(step: StepContext) -> list[Any]:
        if step.attempt == 1:
            step.heartbeat({"row": 7})
            raise ConnectionError("the line is cut")
        return [step.attempt, step.heartbeat_details]

    return context.step(copy, "copy", StepConfig(retry_strategy=after(HOUR)))


@durable_execution
def recovers(_event: Any, context: DurableContext) -> int:
    """Fail the first attempt; the execution is paused when the second one is due."""

    def work(step: StepContext) -> int:
        if step.attempt == 1:
            raise ConnectionError("the line is cut")
        return step.attempt

    return context.step(work, "work", StepConfig(retry_strategy=after(Duration.from_seconds(10))))


@durable_execution
def is_interrupted(_event: Any, context: DurableContext) -> int:
    """Hang in an attempt that must not be made twice; return the number of the one that ended."""

    def charge(step: StepContext) -> int:
        hang()
        return step.attempt

    config = StepConfig(
        retry_strategy=after(Duration.from_milliseconds(1)),
        step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
    )
    return context.step(charge, "charge", config)


@durable_execution
def breaks(_event: Any, _context: DurableContext) -> str:
    """Break the invocation as long as the databases are made."""
    if MAKING:
        raise InvocationError("the network is away")
    return "whole"


@durable_execution
def polls(_event: Any, context: DurableContext) -> dict[str, int]:
    """Ask twice, an hour apart."""

    def decide(state: dict[str, int], _attempt: int) -> WaitForConditionDecision:
        if state["asked"] < 2:
            return WaitForConditionDecision.continue_waiting(HOUR)
        return WaitForConditionDecision.stop_polling()

    def check(state: dict[str, int], _check: Any) -> dict[str, int]:
        return {"asked": state["asked"] + 1}

    config = WaitForConditionConfig(decide, {"asked": 0})
    return context.wait_for_condition(check, config, "asked")


@durable_execution
def asks(_event: Any, context: DurableContext) -> Any:
    """Create a callback and return what it is completed with."""
    return context.create_callback("answer").result()


@durable_execution
def asks_by_submitter(_event: Any, context: DurableContext) -> Any:
    """Hand a callback out and return what it is completed with."""
    return context.wait_for_callback(same(None), "answer")


@durable_execution
def nests(_event: Any, context: DurableContext) -> list[Any]:
    """Wait in a context in a context, beside a virtual one that is over."""

    def inner(child: DurableContext) -> int:
        child.wait(HOUR, "hour")
        return child.step(same(3), "three")

    def outer(child: DurableContext) -> int:
        done = child.step(same(2), "two")
        return done * child.run_in_child_context(inner, "inner")

    virtual = ChildConfig[int](is_virtual=True)
    grouped = context.run_in_child_context(lambda child: child.step(same(1), "one"), "", virtual)
    return [grouped, context.run_in_child_context(outer, "outer")]


@durable_execution
def maps(event: list[int], context: DurableContext) -> list[Any]:
    """Map three items: one is done, one waits, one has failed."""

    def item(branch: DurableContext, value: int, _index: int, _items: Any) -> int:
        if value == 2:
            branch.wait(HOUR, "hour")
        if value == 3:
            raise ValueError("three")
        return value * 10

    config = MapConfig[int](
        completion_config=CompletionConfig.all_completed(),
        item_namer=lambda value, _index: f"item {value}",
    )
    result = context.map(event, item, "tens", config)
    return [result.get_results(), result.failure_count, result.completion_reason.value]


@durable_execution
def maps_flat(event: list[int], context: DurableContext) -> list[int]:
    """Map items whose contexts are not recorded."""

    def item(branch: DurableContext, value: int, _index: int, _items: Any) -> int:
        branch.wait(HOUR, "hour")
        return branch.step(same(value * 10), "ten times")

    config = MapConfig[int](nesting_type=NestingType.FLAT)
    return context.map(event, item, "tens", config).get_results()


@durable_execution
def does_in_parallel(_event: Any, context: DurableContext) -> list[Any]:
    """Wait in a branch, ask in another, retry in a third; before that, be content with one."""

    def sleep(branch: DurableContext) -> str:
        branch.wait(HOUR, "hour")
        return "slept"

    def ask(branch: DurableContext) -> Any:
        return branch.create_callback("answer").result()

    def retry(branch: DurableContext) -> int:
        def work(step: StepContext) -> int:
            if step.attempt == 1:
                raise ConnectionError("the line is cut")
            return step.attempt

        return branch.step(work, "work", StepConfig(retry_strategy=after(HOUR)))

    enough = ParallelConfig(completion_config=CompletionConfig.first_successful())
    first = context.parallel([same("first"), sleep], "first", enough)
    named = [ParallelBranch[Any](sleep, "sleep"), ParallelBranch[Any](ask, "ask")]
    result = context.parallel([*named, ParallelBranch[Any](retry)], "all")
    return [first.get_results(), first.started_count, result.get_results()]


@durable_execution
def retries_a_block(_event: Any, context: DurableContext) -> list[int]:
    """Try a block of operations twice, an hour apart."""

    def block(inner: DurableContext, attempt: int) -> list[int]:
        done = inner.step(same(attempt * 10), "ten times")
        if attempt == 1:
            raise ConnectionError("the line is cut")
        return [attempt, done]

    config = WithRetryConfig[list[int]](retry_strategy=after(HOUR))
    return with_retry(context, block, config, "block")


@durable_execution
def races(_event: Any, context: DurableContext) -> list[str]:
    """Race an hour against a year, after a race that is decided."""

    def hour(branch: DurableContext) -> str:
        branch.wait(HOUR, "hour")
        return "an hour"

    def year(branch: DurableContext) -> str:
        branch.wait(YEAR, "year")
        return "a year"

    decided = context.race([year, same("at once")], "decided")
    return [decided, context.race([year, hour], "open")]


@durable_execution
def takes_any(_event: Any, context: DurableContext) -> str:
    """Take what succeeds first, when something has failed."""

    def fail(_branch: DurableContext) -> str:
        raise ValueError("never")

    def hour(branch: DurableContext) -> str:
        branch.wait(HOUR, "hour")
        return "an hour"

    return context.any_of([fail, hour], "any")


@durable_execution
def takes_all(_event: Any, context: DurableContext) -> list[str]:
    """Take all, of which one is there."""

    def hour(branch: DurableContext) -> str:
        branch.wait(HOUR, "hour")
        return "an hour"

    return context.all_of([same("at once"), hour], "all")


@durable_execution
def invokes(event: dict[str, Any], context: DurableContext) -> list[Any]:
    """Invoke one function to its end, then two that wait and a plain one that hangs."""

    def of_tenant(branch: DurableContext) -> Any:
        config = InvokeConfig[Any, Any](tenant_id="tenant-7")
        return branch.invoke("waits_for_a_tenant", event, "of a tenant", config)

    def durable(branch: DurableContext) -> Any:
        return branch.invoke("waits", event, "durable", InvokeConfig[Any, Any]())

    def plain(branch: DurableContext) -> Any:
        return branch.invoke("hangs_plainly", event, "plain", InvokeConfig[Any, Any]())

    doubled: int = context.invoke("doubles", 4, "doubled")
    invoked = context.parallel([durable, plain, of_tenant], "invoked")
    return [doubled, *invoked.get_results()]


@durable_execution
def diverges(event: str, context: DurableContext) -> str:
    """Ask for something else in the second invocation, while the databases are made."""
    name = "other" if MAKING and event in _BEGUN else "step"
    _BEGUN.add(event)
    value: str = context.step(same("straight"), name)
    context.wait(Duration.from_milliseconds(1), "moment")
    return value


_BEGUN: Final = set[str]()


@plain_function
def doubles(event: int, _context: PlainContext) -> int:
    """Return twice the event."""
    return 2 * event


@plain_function
def hangs_plainly(event: Any, _context: PlainContext) -> list[Any]:
    """Hang; return the event."""
    hang()
    return ["plain", event]


@durable_execution
async def gathers(_event: Any, context: AsyncDurableContext) -> list[Any]:
    """Have one of everything open, side by side."""

    async def work(step: StepContext) -> int:
        if MAKING:
            await asyncio.Event().wait()
        return step.attempt

    async def hour(inner: AsyncDurableContext) -> str:
        await inner.wait(HOUR, "hour")
        return await inner.step(same("an hour"), "told")

    async def item(inner: AsyncDurableContext, value: int, _index: int, _items: Any) -> int:
        await inner.wait(HOUR, "hour")
        return value * 10

    callback = await context.create_callback("answer", CallbackConfig(timeout=YEAR))
    kept = await context.step(same("kept"), "kept")
    calls: list[Coroutine[Any, Any, Any]] = [
        context.step(work, "work", StepConfig(retry_strategy=RetryPresets.none())),
        context.run_in_child_context(hour, "child"),
        context.race([hour], "race"),
        context.invoke("waits", 5, "invoked"),
        callback.result(),
    ]
    mapped, *others = await asyncio.gather(context.map([1, 2], item, "tens"), *calls)
    return [kept, mapped.get_results(), *others]


# What another worker has announced, which took some of it and ended none of it.
if not MAKING:

    @durable_execution
    def is_queued(event: Any, _context: DurableContext) -> list[Any]:
        """Return the event."""
        return ["queued", event]

    @durable_execution
    def is_handed_back(event: Any, context: DurableContext) -> list[Any]:
        """Go on where another worker stopped."""
        return ["handed back", event, context.step(same("never"), "step")]

    @durable_execution
    def ends_ahead(event: Any, _context: DurableContext) -> list[Any]:
        """Return a value that is ignored, since the outcome is recorded."""
        return ["too late", event]
