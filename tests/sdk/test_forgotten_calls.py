# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Durable calls of async handlers that are never awaited: each fails the execution."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from perdure import durable_step
from perdure.config import Duration
from perdure.worker_api import Failed, Succeeded
from tests.sdk.hosted import Hosted, async_handler

HERE: Final = r"test_forgotten_calls\.py:\d+"
AN_HOUR: Final = Duration.from_hours(1)


@durable_step
def charge(_step: Any, order: str) -> str:
    return f"{order} 1"


async def forget_step(context: Any) -> str:
    context.step(charge("o"))
    return "done"


async def forget_before_others(context: Any) -> str:
    context.wait(AN_HOUR, "forgotten")
    await context.step(charge("o"))
    return "done"


async def forget_many(context: Any) -> None:
    for order in "abcde":
        context.step(charge(order))


async def forget_in_child(context: Any) -> str:
    async def child(inner: Any) -> str:
        inner.step(charge("o"))
        return "done"

    return str(await context.run_in_child_context(child))


async def forget_in_branch(context: Any) -> Any:
    async def item(inner: Any, _item: int, _index: int, _items: Any) -> str:
        inner.wait(AN_HOUR)
        return "done"

    return (await context.map([1, 2], item)).get_results()


async def forget_result(context: Any) -> str:
    callback = await context.create_callback("c")
    callback.result()
    return "done"


async def forget_race(context: Any) -> str:
    context.race([lambda inner: inner.wait(AN_HOUR)])
    return "done"


async def return_step(context: Any) -> Any:
    return context.step(charge("o"))


async def hold_in_list(context: Any) -> list[str]:
    made = [context.step(charge(order)) for order in "ab"]
    return [await made[0]]


async def leave_task(context: Any) -> str:
    task = asyncio.create_task(context.step(charge("o")))
    return f"done {task.done()}"


async def in_other_thread(context: Any) -> Any:
    return await asyncio.to_thread(lambda: context.step(charge("o")))


NOT_AWAITED: Final = r"ended without awaiting "
AWAITING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a step": (
        forget_step,
        rf"the handler {NOT_AWAITED}step\(\) at .*{HERE}: it did not run\. Write `await` before",
    ),
    "a wait": (forget_before_others, rf"{NOT_AWAITED}wait\(\) at .*{HERE}: it did not run"),
    "many steps": (forget_many, rf"{NOT_AWAITED}step\(\) at .*{HERE}, .*{HERE} and 2 more: it"),
    "a step of a child": (forget_in_child, rf"CONTEXT \(RunInChildContext\) {NOT_AWAITED}step\(\)"),
    "a wait of an item": (forget_in_branch, rf"'map-item-0' {NOT_AWAITED}wait\(\) at .*{HERE}"),
    "the result of a callback": (forget_result, rf"{NOT_AWAITED}result\(\) at .*{HERE}"),
    "a race": (forget_race, rf"{NOT_AWAITED}race\(\) at .*{HERE}"),
    "a step as a result": (return_step, rf"{NOT_AWAITED}step\(\) at .*{HERE}"),
    "a step among others": (hold_in_list, rf"{NOT_AWAITED}step\(\) at .*{HERE}"),
    "a task": (leave_task, rf"{NOT_AWAITED}step\(\) at .*{HERE}"),
    "a call from a thread": (in_other_thread, r"in the thread '.*', which the context does not"),
}


@pytest.mark.parametrize(("body", "message"), AWAITING.values(), ids=AWAITING)
def test_a_durable_call_that_is_never_awaited_fails_the_execution_in_words(
    body: Callable[[Any], Any], message: str
) -> None:
    async def handle(_event: Any, context: Any) -> Any:
        return await body(context)

    outcome = Hosted(async_handler(handle)).finish()
    assert isinstance(outcome, Failed)
    assert re.search(message, str(outcome.error.message)), outcome.error


def test_calls_that_are_awaited_later_or_cancelled_are_no_mistake() -> None:
    async def handle(_event: Any, context: Any) -> list[Any]:
        later = context.step(charge("later"))
        task = asyncio.create_task(context.wait(AN_HOUR))
        task.cancel()
        steps = [charge(order) for order in "ab"]
        unused, used = charge("unused"), charge("used")
        first = await context.step(steps[0])
        if first == "never":
            await context.step(unused)
        return [first, await context.step(used), await later]

    assert Hosted(async_handler(handle)).finish() == Succeeded('["a 1", "used 1", "later 1"]')


def test_a_handler_that_forgot_a_call_and_raises_fails_with_what_it_raises() -> None:
    async def handle(_event: Any, context: Any) -> None:
        made = context.step(charge("o"))
        try:
            raise LookupError("mine")
        finally:
            made.close()

    outcome = Hosted(async_handler(handle)).finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "LookupError"
