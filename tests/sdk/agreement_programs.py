"""Programs that run with the published AWS SDK and with ours, and must have the same results.

Each takes the SDK and a context, and returns what JSON can hold. They lie where the two could
differ unnoticed: which class an error has, what is recorded of it, what a batch makes of failures,
and what a replay gives back. Messages are the programs' own: the SDKs word theirs differently.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any, Final
from uuid import UUID


class Sdk:
    """The modules of one of the two, by their common names."""

    def __init__(self, package: str) -> None:
        self.root: Any = import_module(package)
        self.config: Any = import_module(f"{package}.config")
        self.exceptions: Any = import_module(f"{package}.exceptions")
        self.retries: Any = import_module(f"{package}.retries")
        self.serdes: Any = import_module(f"{package}.serdes")
        self.waits: Any = import_module(f"{package}.waits")

    def once(self, **more: Any) -> Any:
        """Configure a step without retries."""
        return self.config.StepConfig(retry_strategy=self.retries.RetryPresets.none(), **more)

    def seconds(self, count: int) -> Any:
        return self.config.Duration.from_seconds(count)


Program = Callable[[Sdk, Any], Any]
PROGRAMS: Final[dict[str, Program]] = {}


def program(body: Program) -> Program:
    PROGRAMS[body.__name__] = body
    return body


def described(error: BaseException) -> dict[str, Any]:
    """Return an error as a handler sees it."""
    cause: Any = error.__cause__
    seen: dict[str, Any] = {"class": type(error).__name__, "text": str(error)}
    seen |= {name: getattr(error, name, "none") for name in ("error_type", "data")}
    return seen | {"cause": cause and [type(cause).__name__, cause.error_type, str(cause)]}


def tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - which one it is is in question
        return described(error)


def raising(error: BaseException) -> Callable[..., Any]:
    def body(*_: Any) -> Any:
        raise error

    return body


def returning(value: Any) -> Callable[..., Any]:
    def body(*_: Any) -> Any:
        return value

    return body


def unchanged(state: Any, _: Any) -> Any:
    return state


def counted(state: Any, _: Any) -> Any:
    return {"n": state["n"] + 1}


def refusing(sdk: Sdk, error: BaseException) -> Any:
    """Make a serdes that writes nothing."""

    class Refusing(sdk.serdes.SerDes):  # type: ignore[name-defined, misc]
        def serialize(self, value: Any, serdes_context: Any) -> str:
            raise error

        def deserialize(self, data: str, serdes_context: Any) -> Any:
            return data

    return Refusing()


def never_written(sdk: Sdk) -> Any:
    return refusing(sdk, sdk.exceptions.SerDesError("never", data="of value"))


@program
def errors_of_steps(sdk: Sdk, context: Any) -> Any:
    errors = (ValueError("boom"), KeyError("k"), LookupError(), sdk.exceptions.InvokeError("no"))
    return [tried(partial(context.step, raising(e), "s", sdk.once())) for e in errors]


@program
def errors_of_operations_raised_by_steps(sdk: Sdk, context: Any) -> Any:
    error = sdk.exceptions.StepError("mine", "Mine", "data", ["line"])
    return tried(lambda: context.step(raising(error), "s", sdk.once()))


@program
def invocation_errors_of_bodies(sdk: Sdk, context: Any) -> Any:
    error = sdk.exceptions.InvocationError("away")
    return tried(lambda: context.step(raising(error), "s", sdk.once()))


@program
def what_steps_cannot_write_and_a_replay(sdk: Sdk, context: Any) -> Any:
    config = sdk.once(serdes=never_written(sdk))
    seen = tried(lambda: context.step(returning(1), "s", config))
    context.wait(sdk.seconds(1))
    return seen


@program
def what_contexts_cannot_write(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.ChildConfig(serdes=never_written(sdk))
    return tried(lambda: context.run_in_child_context(returning(1), "c", config))


@program
def what_steps_in_contexts_cannot_write(sdk: Sdk, context: Any) -> Any:
    config = sdk.once(serdes=never_written(sdk))

    def inner(child: Any) -> Any:
        return child.step(returning(1), "s", config)

    return tried(lambda: context.run_in_child_context(inner))


@program
def what_conditions_cannot_write(sdk: Sdk, context: Any) -> Any:
    stop = sdk.waits.WaitForConditionDecision.stop_polling()
    config = sdk.waits.WaitForConditionConfig(returning(stop), 0, never_written(sdk))
    return tried(lambda: context.wait_for_condition(unchanged, config, "poll"))


@program
def what_items_cannot_write(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.MapConfig(item_serdes=never_written(sdk))
    result = context.map([1], returning(1), "m", config)
    return [tried(result.throw_if_error), result.get_errors()[0].type, result.failure_count]


@program
def what_is_written_as_nothing(sdk: Sdk, context: Any) -> Any:
    text = sdk.serdes.PassThroughSerDes()
    values = [
        context.step(returning(None), "s", sdk.once(serdes=text)),
        context.run_in_child_context(returning(None), "c", sdk.config.ChildConfig(serdes=text)),
    ]
    context.wait(sdk.seconds(1))
    return values


@program
def values_that_come_back(_: Sdk, context: Any) -> Any:
    nothing: list[Any] = [[], {}]
    value = {1: (1, Decimal("1.10")), False: b"x", None: [UUID(int=3), *nothing]}
    return repr(context.step(returning(value), "s"))


@program
def errors_of_contexts(sdk: Sdk, context: Any) -> Any:
    def below(child: Any) -> Any:
        return child.step(raising(ValueError("deep")), "s", sdk.once())

    def inner(child: Any) -> Any:
        return child.run_in_child_context(below, "inner")

    return [
        tried(lambda: context.run_in_child_context(inner, "outer")),
        tried(lambda: context.run_in_child_context(raising(ValueError("flat")), "raises")),
    ]


@program
def errors_of_virtual_contexts(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.ChildConfig(is_virtual=True)
    return tried(lambda: context.run_in_child_context(raising(ValueError("v")), "v", config))


@program
def a_strategy_that_changes_the_state(sdk: Sdk, context: Any) -> Any:
    def strategy(state: dict[str, int], attempt: int) -> Any:
        state["seen"] = attempt
        decision = sdk.waits.WaitForConditionDecision
        return decision.stop_polling() if attempt > 1 else decision.continue_waiting(sdk.seconds(1))

    config = sdk.waits.WaitForConditionConfig(strategy, {"n": 0})
    return context.wait_for_condition(counted, config, "poll")


@program
def a_check_that_raises(sdk: Sdk, context: Any) -> Any:
    config = sdk.waits.WaitForConditionConfig(raising(AssertionError()), 0)
    return tried(lambda: context.wait_for_condition(raising(OSError("cut")), config, "poll"))


def batch(sdk: Sdk, context: Any, failing: set[int], **completion: Any) -> Any:
    """Map four items, one at a time, of which some fail; return the whole result."""

    def item(_context: Any, _item: Any, index: int, _items: Any) -> Any:
        if index in failing:
            raise ValueError(f"item {index}")
        return (index, None)

    policy = sdk.config.CompletionConfig(**completion)
    config = sdk.config.MapConfig(max_concurrency=1, completion_config=policy)
    result = context.map(range(4), item, f"{sorted(failing)} {sorted(completion)}", config)
    return {
        "items": [[each.index, each.status.value, repr(each.result)] for each in result.all],
        "errors": [[each.type, each.message] for each in result.get_errors()],
        "reason": result.completion_reason.value,
        "status": result.status.value,
        "thrown": tried(result.throw_if_error),
    }


@program
def tolerances(sdk: Sdk, context: Any) -> Any:
    return [
        batch(sdk, context, {1}),
        batch(sdk, context, {0}, tolerated_failure_count=1),
        batch(sdk, context, {0, 1}, tolerated_failure_count=1),
        batch(sdk, context, {0}, tolerated_failure_percentage=25),
        batch(sdk, context, {0}, tolerated_failure_percentage=24.9),
        batch(sdk, context, {0, 1, 2, 3}, tolerated_failure_percentage=100),
    ]


@program
def minima(sdk: Sdk, context: Any) -> Any:
    return [
        batch(sdk, context, {0}, min_successful=1),
        batch(sdk, context, {0, 1}, min_successful=3),
        batch(sdk, context, {0}, min_successful=2, tolerated_failure_count=0),
        batch(sdk, context, set(), min_successful=4),
    ]


@program
def predicates(sdk: Sdk, context: Any) -> Any:
    def after(count: int, **outcome: Any) -> Callable[[Any], Any]:
        return lambda status: (
            sdk.config.complete_batch(**outcome)
            if status.completed_count >= count
            else sdk.config.continue_batch()
        )

    failed = sdk.config.CompletionOutcome.FAILED
    return [
        batch(sdk, context, {0}, should_complete=after(2)),
        batch(sdk, context, {0}, should_complete=after(2, outcome=failed)),
        batch(sdk, context, {0, 1}, should_complete=after(9)),
        batch(sdk, context, set(), should_complete=after(4)),
        batch(sdk, context, set(), should_complete=after(0)),
    ]


@program
def batches_of_nothing(sdk: Sdk, context: Any) -> Any:
    policy = sdk.config.CompletionConfig(min_successful=1)
    config = sdk.config.MapConfig(completion_config=policy)
    results = (context.map([], returning(1), "m"), context.parallel([], "p"))
    return [
        [[each.total_count, each.completion_reason.value, each.status.value] for each in results],
        tried(lambda: context.map([], returning(1), "m", config))["class"],
    ]


@program
def flat_branches(sdk: Sdk, context: Any) -> Any:
    def item(branch: Any, value: int, *_: Any) -> Any:
        branch.step(returning(value), "s")
        if value == 2:
            raise ValueError("two")

    nesting = sdk.config.NestingType.FLAT
    config = sdk.config.MapConfig(max_concurrency=1, nesting_type=nesting)
    result = context.map([1, 2, 3], item, "m", config)
    return [result.completion_reason.value, tried(result.throw_if_error)]


@program
def branches_that_wait_and_a_replay(sdk: Sdk, context: Any) -> Any:
    def item(branch: Any, value: int, *_: Any) -> Any:
        branch.wait(sdk.seconds(value), "w")
        return (value,)

    result = context.map([3, 1, 2], item, "m")
    context.wait(sdk.seconds(1))
    return [repr(result.get_results()), context.step(returning(result), "again") == result]


@program
def callbacks_that_time_out(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.WaitForCallbackConfig(timeout=sdk.seconds(5))
    return tried(lambda: context.wait_for_callback(returning(None), "ask", config))


@program
def submitters_that_fail(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.WaitForCallbackConfig(retry_strategy=sdk.retries.RetryPresets.none())
    errors = (ValueError("s"), sdk.exceptions.StepError("mine", "Mine", "data", None))
    return [
        tried(partial(context.wait_for_callback, raising(e), f"ask {n}", config))
        for n, e in enumerate(errors)
    ]


@program
def blocks_that_are_tried_again(sdk: Sdk, context: Any) -> Any:
    def strategy(_error: Exception, attempt: int) -> Any:
        decision = sdk.retries.RetryDecision
        return decision.retry(sdk.seconds(1)) if attempt < 3 else decision.no_retry()

    def block(inner: Any, attempt: int) -> Any:
        inner.step(returning(attempt), "s")
        raise ValueError(f"try {attempt}")

    config = sdk.root.WithRetryConfig(retry_strategy=strategy)
    return tried(lambda: sdk.root.with_retry(context, block, config, "block"))


@program
def empty_sub_types(sdk: Sdk, context: Any) -> Any:
    return context.step(returning(1), None, sdk.config.StepConfig(sub_type=""))


@program
def replays_that_are_noticed(sdk: Sdk, context: Any) -> Any:
    seen = [context.is_replaying()]
    for number in range(2):
        context.step(returning(1), f"s{number}")
        seen.append(context.is_replaying())
        context.wait(sdk.seconds(1), f"w{number}")
        seen.append(context.is_replaying())
    return seen


@program
def results_of_handlers(_: Sdk, __: Any) -> Any:
    return {1: (2, None), None: "ä☃", "nan": json.loads("NaN") != 0}


@program
def handlers_that_raise(_: Sdk, __: Any) -> Any:
    raise KeyError("k")


@program
def handlers_that_raise_what_a_batch_throws(_: Sdk, context: Any) -> Any:
    context.map([1], raising(ValueError("item")), "m").throw_if_error()


@program
def handlers_that_raise_what_they_cannot_write(sdk: Sdk, context: Any) -> Any:
    return context.step(returning(1), "s", sdk.once(serdes=never_written(sdk)))
