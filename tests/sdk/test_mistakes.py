# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Mistakes that people make in handlers: each fails the execution, in words that say what to write.

The handlers are untyped, as those are in which such mistakes get as far as this: type checkers see
most of them.
"""

import functools
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from perdure import ValidationError, durable_execution, durable_step
from perdure.config import (
    CallbackConfig,
    Duration,
    MapConfig,
    StepConfig,
)
from perdure.context import durable_parallel_branch, durable_wait_for_callback
from perdure.functions.plain import plain_function
from perdure.retries import RetryDecision, RetryPresets, RetryStrategyConfig
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import Failed, Succeeded
from tests.sdk.hosted import Hosted, handler

HERE: Final = r"test_mistakes\.py:\d+"


@durable_step
def charge(_step: Any, order: str, amount: int = 1) -> str:
    return f"{order} {amount}"


@durable_step
def refund(_step: Any, *, order: str, amount: int) -> str:
    return f"{order} {amount}"


def logged(func: Any) -> Any:
    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call


@durable_step
@logged
def wrapped(_step: Any, order: str) -> str:
    return order


@durable_wait_for_callback
def submit(_callback_id: Any, _context: Any, order: str) -> str:
    return order


@durable_parallel_branch()
def branch(_context: Any, order: str) -> str:
    return order


def two(_first: Any, _second: Any) -> int:
    return 2


async def never_awaited() -> int:
    return 1


def in_thread(context: Any) -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            context.step(charge("o"))
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=call, name="mine")
    thread.start()
    thread.join()
    raise raised[0]


def drop(context: Any) -> None:
    charge("o")
    context.step(charge("p"))


def keep_unread(_context: Any) -> str:
    receipt = charge("o")  # noqa: F841  # pyright: ignore[reportUnusedVariable]
    return "done"


def drop_in_step(context: Any) -> None:
    def body(_step: Any) -> None:
        charge("o")

    context.step(body)


def drop_submitter() -> None:
    submit("o")


BLOCKING: dict[str, tuple[Callable[[Any], object], str]] = {
    "a step as a result": (
        lambda _: charge("o"),
        (
            r"The result of 'under-test' cannot be recorded: it is what charge\(…\) returns, which"
            r" was never run\. Pass it to the context: context\.step\(charge\(…\)\)\."
        ),
    ),
    "a step in a result": (lambda _: {"paid": [charge("o")]}, r"context\.step\(charge\(…\)\)"),
    "a step as the result of a step": (
        lambda context: context.step(lambda _: charge("o"), config=StepConfig(RetryPresets.none())),
        r"The value cannot be recorded: it is what charge\(…\) returns",
    ),
    "a step that is dropped": (
        drop,
        (
            rf"charge\(\) was called at .*{HERE}, but what it returns is not used, so it never"
            r" runs\. Pass it on: context\.step\(charge\(…\)\)\."
        ),
    ),
    "a step that nothing reads": (keep_unread, rf"charge\(\) was called at .*{HERE}, but what"),
    "a step that a step drops": (drop_in_step, rf"charge\(\) was called at .*{HERE}, but what"),
    "a submitter that is dropped": (
        lambda _: drop_submitter(),
        r"Pass it on: context\.wait_for_callback\(submit\(…\)\)",
    ),
    "a decorated step that is not called": (
        lambda context: context.step(charge),
        (
            r"charge is decorated with @durable_step: call it before it is passed\. Write"
            r" context\.step\(charge\(…\)\)\."
        ),
    ),
    "a decorated branch that is not called": (
        lambda context: context.parallel([branch]),
        r"branch is decorated with @durable_parallel_branch\(\): call it",
    ),
    "a coroutine as a result": (
        lambda _: never_awaited(),
        (
            r"cannot be recorded: it is a coroutine, never_awaited\(…\), which was never awaited\."
            r" Write `await never_awaited\(…\)`\."
        ),
    ),
    "a coroutine as the result of a step": (
        lambda context: context.step(lambda _: never_awaited()),
        r"it is a coroutine, never_awaited\(…\), which was never awaited",
    ),
    "a BatchResult as a result": (
        lambda context: context.map([1], lambda _c, item, _i, _all: item),
        r"a BatchResult is not JSON\. Return its get_results\(\), or annotate",
    ),
    "a number as a duration": (
        lambda context: context.wait(5),
        (
            r"The duration of a wait must be a Duration or a timedelta, got 5\. A number has no"
            r" unit: write Duration\.from_seconds\(5\), or timedelta\(seconds=5\)\."
        ),
    ),
    "a text as a duration": (
        lambda context: context.create_wait("5 s"),
        r"must be a Duration or a timedelta, got '5 s'\. Write Duration\.from_seconds\(…\)",
    ),
    "a negative duration": (
        lambda context: context.wait(Duration.from_hours(-2)),
        r"Duration must not be negative, got -2 hours\.",
    ),
    "a negative timedelta": (
        lambda context: context.wait(timedelta(days=-1)),
        r"The duration of a wait must not be negative, got -1 day\.",
    ),
    "a text as a number of seconds": (
        lambda context: context.wait(Duration.from_seconds("5")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        r"Duration must be a number of seconds, got '5'\.",
    ),
    "no duration": (
        lambda context: context.wait(Duration()),
        r"The duration of a wait must be 1 ms to 366 days, got 0 ms\.",
    ),
    "a duration that is too long": (
        lambda context: context.wait(timedelta(days=400)),
        r"The duration of a wait must be 1 ms to 366 days, got 400 days\.",
    ),
    "a timeout that is too long": (
        lambda _: StepConfig(timeout=Duration.from_days(367)),
        r"timeout of a step must be 1 ms to 366 days, got 367 days\. Omit it for no timeout\.",
    ),
    "a number as a timeout": (
        lambda _: StepConfig(timeout=60),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        r"timeout must be a Duration or a timedelta, got 60\. A number has no unit",
    ),
    "a number as the timeout of a callback": (
        lambda _: CallbackConfig(timeout=60),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        r"timeout must be a Duration or a timedelta, got 60\.",
    ),
    "a number as the delay of a retry": (
        lambda _: RetryPresets.fixed(5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        r"initial_delay must be a Duration or a timedelta, got 5\.",
    ),
    "no attempts": (
        lambda _: RetryPresets.fixed(max_attempts=0),
        r"max_attempts must be at least 1, got 0\.",
    ),
    "a dict as the config of a step": (
        lambda context: context.step(charge("o"), config={"timeout": 5}),
        (
            r"The config of context\.step\(\) must be a StepConfig, got dict\. Write"
            r" config=StepConfig\(…\)\."
        ),
    ),
    "a dict as the config of an invoke": (
        lambda context: context.invoke("f", None, config={"tenant_id": "t"}),
        r"The config of context\.invoke\(\) must be an InvokeConfig, got dict\.",
    ),
    "the config of another operation": (
        lambda context: context.run_in_child_context(lambda _: 1, config=StepConfig()),
        r"The config of context\.run_in_child_context\(\) must be a ChildConfig, got StepConfig\.",
    ),
    "a config as the name": (
        lambda context: context.step(charge("o"), StepConfig()),
        r"An operation name must be a text, got StepConfig\. Pass a configuration as config=….",
    ),
    "a missing argument": (
        lambda context: context.step(charge()),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        (
            r"charge must be called with \(order: str, amount: int = 1\): missing a required"
            r" argument: 'order'\."
        ),
    ),
    "an argument too many": (
        lambda context: context.step(charge("o", 1, 2)),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        r"charge must be called with .*: too many positional arguments\.",
    ),
    "an unknown keyword": (
        lambda context: context.step(charge("o", price=2)),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        r"charge must be called with .*: got an unexpected keyword argument 'price'\.",
    ),
    "a missing keyword": (
        lambda context: context.step(refund(order="o")),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        r"refund must be called with .*: missing a required .*argument: 'amount'\.",
    ),
    "a missing argument of a wrapped function": (
        lambda context: context.step(wrapped()),
        r"wrapped must be called with \(order: str\): missing a required argument: 'order'\.",
    ),
    "a step that takes more": (
        lambda context: context.step(two),
        (
            r"context\.step\(\) calls the function with \(step_context\), but two takes \(_first:"
            r" Any, _second: Any\)"
        ),
    ),
    "a step that takes nothing": (
        lambda context: context.step(lambda: 1),
        r"context\.step\(\) calls the function with \(step_context\), but <lambda> takes \(\)\.",
    ),
    "the value of a step instead of the step": (
        lambda context: context.step(two(1, 2)),
        r"context\.step\(\) must be given a function, got int\.",
    ),
    "the body of a map with other arguments": (
        lambda context: context.map([1, 2], lambda _context, item: item),
        (
            r"context\.map\(\) calls the function with \(context, item, index, inputs\), but"
            r" <lambda> takes \(_context, item\)\. Change its parameters, or pass a lambda\."
        ),
    ),
    "the items of a map behind its body": (
        lambda context: context.map(two, [1]),
        (
            r"context\.map\(\) must be given the items first, got function\. Write"
            r" context\.map\(items, function\)\."
        ),
    ),
    "a branch with other arguments": (
        lambda context: context.race([lambda: 1]),
        r"context\.race\(\) calls the function with \(context\), but <lambda> takes \(\)",
    ),
    "a branch in place of several": (
        lambda context: context.parallel(branch("o")),
        r"The branches must be a list of functions, got .*\. Write \[function, …\]",
    ),
    "a function in place of branches": (
        lambda context: context.race(lambda _: 1),
        r"The branches must be a list of functions, got function\.",
    ),
    "a dict as the config of a condition": (
        lambda context: context.wait_for_condition(lambda state, _check: state, {"initial": 0}),
        (
            r"The config of context\.wait_for_condition\(\) must be a WaitForConditionConfig, got"
            r" dict\. Write WaitForConditionConfig\(wait_strategy, initial_state\)\."
        ),
    ),
    "a function to invoke": (
        lambda context: context.invoke(two, None),
        r"context\.invoke\(\) must be given the name of a function, got function\.",
    ),
    "a child with other arguments": (
        lambda context: context.run_in_child_context(two),
        r"context\.run_in_child_context\(\) calls the function with \(context\), but two takes",
    ),
    "a check with other arguments": (
        lambda context: context.wait_for_condition(
            lambda _: 1,
            WaitForConditionConfig(lambda *_: WaitForConditionDecision.stop_polling(), 0),
        ),
        r"context\.wait_for_condition\(\) calls the function with \(state, check_context\)",
    ),
    "a submitter with other arguments": (
        lambda context: context.wait_for_callback(lambda _: 1),
        r"context\.wait_for_callback\(\) calls the function with \(callback_id, callback_context\)",
    ),
    "a thread that did not get the context": (
        in_thread,
        (
            r"Step charge was called on the context of the handler in the thread 'mine', which the"
            r" context does not belong to: .* Use map\(\) or parallel\(\), or start the thread"
        ),
    ),
}


@pytest.mark.parametrize(("body", "message"), BLOCKING.values(), ids=BLOCKING)
def test_a_mistake_in_a_handler_fails_its_execution_in_words(
    body: Callable[[Any], object], message: str
) -> None:
    host = Hosted(handler(lambda _, context: body(context)), targets=["f"])
    outcome = host.finish()
    assert isinstance(outcome, Failed)
    assert re.search(message, str(outcome.error.message)), outcome.error
    assert len(host.outcomes) == 1


ACCEPTED: dict[str, Callable[[Any], object]] = {
    "a timedelta": lambda context: context.wait(timedelta(seconds=2)),
    "a timedelta of a created wait": lambda context: context.create_wait(timedelta(1)).cancel(),
    "a timeout": lambda context: context.step(
        charge("o"),
        config=StepConfig(timeout=timedelta(1)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ),
    "a delay": lambda _: RetryDecision.retry(timedelta(1)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a delay of a strategy": lambda _: RetryStrategyConfig(max_delay=timedelta(1)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a config of a map for parallel": lambda context: context.parallel(
        [lambda _: 1], None, MapConfig()
    ),
    "an empty dict for no config": lambda context: context.parallel([lambda _: 1], None, {}),
    "a method": lambda context: context.step(Counter().add),
    "a builtin": lambda context: context.step(repr),
    "keyword-only arguments": lambda context: context.step(refund(order="o", amount=2)),
    "arguments of a wrapped function": lambda context: context.step(wrapped("o")),
    "keywords": lambda context: context.step(charge(order="o", amount=2)),
    "defaults": lambda context: context.step(lambda _, more=1: more),
}


class Counter:
    def add(self, _step: Any) -> int:
        return 1


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_what_can_be_meant_only_one_way_is_taken(body: Callable[[Any], object]) -> None:
    def handle(_event: Any, context: Any) -> None:
        body(context)

    assert Hosted(handler(handle)).finish() == Succeeded("null")


def test_a_call_that_is_recorded_with_a_body_that_did_not_fit_goes_on() -> None:
    bodies = iter([lambda _c, item, _i, _all: item])

    def handle(_event: Any, context: Any) -> list[Any]:
        wrong = lambda _c, item: item  # noqa: E731 - the mistake
        found = context.map([1], next(bodies, wrong))
        context.wait(Duration(1))
        return list(found.get_results())

    assert Hosted(handler(handle)).finish() == Succeeded("[1]")


HANDLERS: dict[str, tuple[Any, str]] = {
    "without a context": (
        lambda _event: 1,
        (
            rf"The handler '<lambda>', at .*{HERE}, takes \(_event\)\. A handler is called with an"
            r" event and a context: write def"
        ),
    ),
    "with more": (lambda _event, _context, _more: 1, r"takes \(_event, _context, _more\)"),
    "a text": ("order", r"A handler must be a function, got str\."),
}


@pytest.mark.parametrize(("wrong", "message"), HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("decorate", [durable_execution, plain_function])
def test_a_handler_that_cannot_be_called_is_refused_where_it_is_defined(
    decorate: Any, wrong: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        decorate(name="f")(wrong)
