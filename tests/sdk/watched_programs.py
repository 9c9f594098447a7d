"""Programs with every operation, for plugins to watch, as ordinary handlers are written."""

from collections.abc import Callable
from typing import Any

from perdure import (
    DurableContext,
    DurableOperationError,
    WithRetryConfig,
    with_retry,
)
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

Program = Callable[[DurableContext], Any]

SOON = RetryPresets.fixed(Duration(1))
AT_MOST_ONCE = StepConfig(SOON, StepSemantics.AT_MOST_ONCE_PER_RETRY)
FLAT, NESTED = NestingType.FLAT, NestingType.NESTED


def flaky(failures: int) -> Callable[[Any], int]:
    def body(step_context: Any) -> int:
        if step_context.attempt <= failures:
            raise OSError("flaky")
        return int(step_context.attempt)

    return body


def busy(context: DurableContext) -> list[Any]:
    """Do a bit of everything that one context can."""
    first = context.step(flaky(1), "flaky", StepConfig(SOON))
    context.wait(Duration(5), "nap")
    return [first, context.step(lambda _: "end", "end")]


def nested(context: DurableContext) -> Any:
    return context.run_in_child_context(
        lambda child: [busy(child), child.run_in_child_context(busy, "inner")], "outer"
    )


def virtual(context: DurableContext) -> Any:
    return context.run_in_child_context(busy, "virtual", ChildConfig(is_virtual=True))


def failing_child(context: DurableContext) -> Any:
    def body(child: DurableContext) -> None:
        busy(child)
        raise ValueError("after all")

    try:
        context.run_in_child_context(body, "child")
    except DurableOperationError as error:
        return [busy(context), str(error), error.error_type]


def large_child(context: DurableContext) -> Any:
    def body(child: DurableContext) -> str:
        return str(busy(child)) * 30_000

    return [len(context.run_in_child_context(body, "large")), busy(context)]


def interrupted(context: DurableContext) -> Any:
    # A crash spends an attempt of an at-most-once step, so its number is no result.
    return [context.step(flaky(0), f"once-{n}", AT_MOST_ONCE) > 0 for n in range(2)]


def callback(context: DurableContext) -> Any:
    return [context.wait_for_callback(lambda _id, _context: None, "ask"), busy(context)]


def late_callback(context: DurableContext) -> Any:
    config = WaitForCallbackConfig(timeout=Duration(3))
    try:
        context.wait_for_callback(lambda _id, _context: None, "late", config)
    except DurableOperationError as error:
        return [type(error).__name__, busy(context)]


def condition(context: DurableContext) -> Any:
    strategy = create_wait_strategy(WaitStrategyConfig[int](lambda state: state < 3))
    config = WaitForConditionConfig(strategy, 0)
    return context.wait_for_condition(lambda state, _: state + 1, config, "poll")


def invoked(context: DurableContext) -> Any:
    return [context.invoke("other", 1, "call"), busy(context)]


def retried(context: DurableContext) -> Any:
    def block(inner: DurableContext, attempt: int) -> list[Any]:
        done = busy(inner)
        if attempt == 1:
            raise OSError("once more")
        return done

    return with_retry(context, block, WithRetryConfig(SOON), "block")


def batch(nesting: NestingType, concurrency: int | None) -> Program:
    def program(context: DurableContext) -> Any:
        def item(inner: DurableContext, number: int, *_: Any) -> Any:
            if number == 1:
                raise ValueError("one of them")
            return [number, busy(inner)]

        config = MapConfig[int](concurrency, CompletionConfig.all_completed(), nesting_type=nesting)
        result = context.map([0, 1, 2], item, "map", config)
        return [result.get_results(), result.failure_count, busy(context)]

    return program


def batches(context: DurableContext) -> Any:
    def item(inner: DurableContext, number: int, *_: Any) -> Any:
        config = ParallelConfig(nesting_type=FLAT if number else NESTED)
        return inner.parallel([busy, lambda leaf: leaf.step(flaky(0))], None, config).get_results()

    return [context.map([0, 1], item, "map").get_results(), busy(context)]


def large_batch(nesting: NestingType) -> Program:
    def program(context: DurableContext) -> Any:
        def item(inner: DurableContext, number: int, *_: Any) -> str:
            return str([number, busy(inner)]) * 5_000

        result = context.map([0, 1, 2], item, "map", MapConfig(nesting_type=nesting))
        return [[len(text) for text in result.get_results()], busy(context)]

    return program


PROGRAMS = {
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
