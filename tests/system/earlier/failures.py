"""Functions that catch what operations raise, on the first run and on every replay.

What stands in `functions.py` holds for this file too. Most of them fail once when the databases are
made, wait for an hour, and fail once more when the databases are opened. What is caught of the
first failures then comes from records, by names that the records hold, and has to be the same as
what is caught of the second ones.
"""

from collections.abc import Callable
from typing import Any, Final

from perdure import (
    AnyOfError,
    BatchCompletionError,
    CallbackError,
    CallbackSubmitterError,
    ChildContextError,
    CompletionOutcome,
    DurableContext,
    DurableOperationError,
    InvokeError,
    SerDesError,
    StepContext,
    StepError,
    WaitCancelledError,
    WaitForConditionError,
    complete_batch,
    durable_execution,
)
from perdure.client import NotFoundError
from perdure.config import (
    CallbackConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from perdure.exceptions import register_operation_error
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionConfig, WaitStrategyConfig, create_wait_strategy
from tests.system.earlier.functions import HOUR, YEAR, hang, same

HALF_AN_HOUR: Final = Duration.from_minutes(30)
LONG: Final = 40
# Messages of this file, and of the callbacks that `make.py` completes.
WORDS: Final = {
    *("bad", "boom", "never", "no", "no such execution", "none is left", "one"),
    *("two", "unsent", "worse"),
}
ONCE: Final = StepConfig(retry_strategy=RetryPresets.none())
ONCE_IN_TIME: Final = StepConfig(
    retry_strategy=RetryPresets.none(), timeout=Duration.from_milliseconds(20)
)


class SoldOutError(DurableOperationError):
    """An error of the user's that comes back from records as itself."""


register_operation_error(SoldOutError)


def raising(error: Exception) -> Callable[..., Any]:
    """Return a body that raises the error."""

    def body(*_: Any) -> Any:
        raise error

    return body


def described(error: BaseException | None) -> list[Any]:
    """Return a recorded error and its causes, as a handler sees them.

    Messages are included where this file raises them: those of the SDK can change.
    """
    if not isinstance(error, DurableOperationError | SerDesError):
        return []
    seen, below = [str(error.error_type)], list[Any]()
    if error.message in WORDS:
        seen.append(error.message)
    if isinstance(error, AnyOfError):
        below = [described(each) for each in error.errors]
    elif error.data is not None:
        seen.append(cut(error.data))
    if isinstance(error, BatchCompletionError):
        below = [error.completion_reason.value]
    return [f"{type(error).__name__}({', '.join(seen)})", *below, *described(error.__cause__)]


def cut(text: str) -> str:
    """Return a text, or its length if it is long."""
    return text if len(text) < LONG else f"{text[0]} × {len(text):,}"


def caught(
    kind: type[DurableOperationError | SerDesError], call: Callable[[], object]
) -> list[Any] | None:
    """Return the description of an error of that kind; any other one fails the execution."""
    try:
        call()
    except kind as error:
        return described(error)
    return None


def caught_of_child(context: DurableContext, body: Callable[..., Any]) -> list[Any] | None:
    """Return the description of the error of a child context, which is recorded by name."""
    return caught(ChildContextError, lambda: context.run_in_child_context(body, "child"))


@durable_execution
def fails_in_steps(_event: Any, context: DurableContext) -> list[Any]:
    """Fail in steps and polls."""

    def overdue(step: StepContext) -> None:
        while True:  # until it is cancelled
            step.raise_if_cancelled()

    def any_of(_step: StepContext) -> None:
        raise AnyOfError.of([ChildContextError("one", "ValueError"), ChildContextError("two")])

    def poll(inner: DurableContext) -> None:
        strategy = create_wait_strategy(WaitStrategyConfig[int](same(True), max_attempts=1))
        inner.wait_for_condition(same(0), WaitForConditionConfig(strategy, 0), "poll")

    def again() -> list[Any]:
        def step(body: Callable[..., Any], config: StepConfig = ONCE) -> list[Any] | None:
            return caught(StepError, lambda: context.step(body, "step", config))

        return [
            step(raising(ValueError("boom"))),
            step(raising(SoldOutError("none is left", data="17"))),
            step(raising(NotFoundError("no such execution"))),
            step(any_of),
            step(overdue, ONCE_IN_TIME),
            caught(SerDesError, lambda: context.step(same(object), "step", ONCE)),
            caught(WaitForConditionError, lambda: poll(context)),
            caught_of_child(context, poll),
        ]

    return recorded_and_fresh(context, again)


@durable_execution
def fails_in_contexts(_event: Any, context: DurableContext) -> list[Any]:
    """Fail in child contexts, each of which records the name of what was raised in it."""

    def step(inner: DurableContext) -> None:
        inner.step(raising(ValueError("boom")), "step", ONCE)

    def nest(inner: DurableContext) -> None:
        inner.run_in_child_context(step, "inner")

    def invoke(inner: DurableContext) -> None:
        inner.invoke("raises", "boom", "invoked")

    def cancel(inner: DurableContext) -> None:
        wait = inner.create_wait(YEAR, "year")
        wait.cancel()
        wait.result()

    def submit(inner: DurableContext) -> None:
        config = WaitForCallbackConfig(retry_strategy=RetryPresets.none())
        inner.wait_for_callback(raising(ValueError("unsent")), "answer", config)

    def again() -> list[Any]:
        bodies: list[Callable[[DurableContext], Any]] = [
            *(step, nest, invoke, cancel, submit),
            raising(SoldOutError("none is left", data="17")),
        ]
        return [caught_of_child(context, body) for body in bodies] + [
            caught(WaitCancelledError, lambda: cancel(context)),
            caught(CallbackSubmitterError, lambda: submit(context)),
            caught(InvokeError, lambda: invoke(context)),
            caught(InvokeError, lambda: context.invoke("nobody", None, "nobody")),
        ]

    return recorded_and_fresh(context, again)


@durable_execution
def fails_in_batches(_event: Any, context: DurableContext) -> list[Any]:
    """Fail in batches and compositions, the errors of which have modules of their own."""
    bad, worse = raising(ValueError("bad")), raising(LookupError("worse"))

    def late(branch: DurableContext) -> None:
        branch.wait(YEAR, "year")

    def any_of(inner: DurableContext) -> None:
        inner.any_of([bad, worse], "any")

    def complete(inner: DurableContext) -> None:
        failed = complete_batch(outcome=CompletionOutcome.FAILED)
        policy = CompletionConfig(should_complete=lambda _status: failed)
        inner.map([1], same(1), "map", MapConfig[int](completion_config=policy)).throw_if_error()

    def again() -> list[Any]:
        return [
            caught(AnyOfError, lambda: any_of(context)),
            caught_of_child(context, any_of),
            caught(BatchCompletionError, lambda: complete(context)),
            caught_of_child(context, complete),
            caught(ChildContextError, lambda: context.map([1], bad, "map").throw_if_error()),
            caught(ChildContextError, lambda: context.race([bad, late], "race")),
            caught(ChildContextError, lambda: context.all_of([same(1), bad], "all")),
        ]

    return recorded_and_fresh(context, again)


def recorded_and_fresh(context: DurableContext, again: Callable[[], list[Any]]) -> list[Any]:
    """Fail, wait, fail once more; return the first errors caught, and the differences."""
    recorded = again()
    context.wait(HOUR, "hour")
    fresh = again()
    pairs = zip(recorded, fresh, strict=True)
    return [recorded, [pair for pair in pairs if pair[0] != pair[1]]]


@durable_execution
def hears(_event: Any, context: DurableContext) -> list[Any]:
    """Create callbacks, some of which have ended when the databases are made."""
    configs = {
        "kept": CallbackConfig(),
        "refused": CallbackConfig(),
        "lapsed": CallbackConfig(timeout=Duration.from_seconds(10)),
        "granted": CallbackConfig(timeout=YEAR),
        "denied": CallbackConfig(heartbeat_timeout=YEAR),
        "late": CallbackConfig(timeout=HALF_AN_HOUR),
        "silent": CallbackConfig(heartbeat_timeout=HALF_AN_HOUR),
    }
    heard = list[Any]()
    for name, callback in [(n, context.create_callback(n, each)) for n, each in configs.items()]:
        try:
            heard.append([name, cut(callback.result())])
        except CallbackError as error:
            # Once more, from a record that holds the name of the error alone.
            heard.append([name, described(error), caught_of_child(context, raising(error))])
    return heard


@durable_execution
def is_stopped(_event: Any, context: DurableContext) -> None:
    """Wait until the execution is stopped."""
    context.wait(YEAR, "year")


@durable_execution
def invokes_what_fails(_event: Any, context: DurableContext) -> list[Any]:
    """Invoke what times out, what is stopped, and what times out when the databases are opened."""

    def invoked(name: str) -> list[Any] | None:
        return caught(InvokeError, lambda: context.invoke(name, None, name))

    names = ("waits_too_long", "is_stopped", "waits_somewhat_too_long")
    return [invoked(name) for name in names]


@durable_execution
def is_overdue(_event: Any, context: DurableContext) -> list[Any] | None:
    """Hang in an attempt whose time is over when the databases are opened."""

    def work(_step: StepContext) -> None:
        hang()

    config = StepConfig(retry_strategy=RetryPresets.none(), timeout=HALF_AN_HOUR)
    return caught(StepError, lambda: context.step(work, "work", config))


@durable_execution
def is_silent(_event: Any, context: DurableContext) -> list[Any] | None:
    """Hang in an attempt that has been silent for too long when the databases are opened."""

    def work(step: StepContext) -> None:
        step.heartbeat({"row": 7})
        hang()

    config = StepConfig(retry_strategy=RetryPresets.none(), heartbeat_timeout=HALF_AN_HOUR)
    return caught(StepError, lambda: context.step(work, "work", config))


@durable_execution
def is_interrupted_for_good(_event: Any, context: DurableContext) -> list[Any] | None:
    """Hang in the only attempt that there is."""

    def charge(_step: StepContext) -> None:
        hang()

    config = StepConfig(
        retry_strategy=RetryPresets.none(), step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY
    )
    return caught(StepError, lambda: context.step(charge, "charge", config))
