"""Durable calls that are never awaited, steps that never run, and coroutines as results."""

import pytest

from tests.lint.snippets import check, handler, rules

BEFORE = """
import asyncio
from contextlib import asynccontextmanager

@durable_step
def charge(step, order): return 1

async def both(context, order):
    await context.step(charge(order))

async def plain(order):
    return order

async def source(order):
    yield order

def made(order):
    return charge(order)
"""


def async_handler(*lines: str) -> str:
    return handler(*lines, before=BEFORE).replace("def order(event", "async def order(event")


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (["context.step(charge(event))"], "PRD207"),
        (["context.wait(event)", "return 1"], "PRD207"),
        (["x = context.step(charge(event))"], "PRD207"),
        (["x: int = context.step(charge(event))"], "PRD207"),
        (["_ = context.invoke('f', event)"], "PRD207"),
        (["[context.step(charge(each)) for each in event]"], "PRD207"),
        (["if context.step(charge(event)):", "    return 1"], "PRD207"),
        (["return 1 + context.step(charge(event))"], "PRD207"),
        (["return context.step(charge(event))['id']"], "PRD207"),
        (["return context.step(charge(event)).get('id')"], "PRD207"),
        (["return f'{context.step(charge(event))}'"], "PRD207"),
        (["while context.step(charge(event)) > 3:", "    pass"], "PRD207"),
        (["c = await context.create_callback()", "c.result()"], "PRD207"),
        (["both(context, event)"], "PRD207"),
        (["with_retry(context, both, None)"], "PRD207"),
        (
            [
                "async def branch(own):",
                "    own.step(charge(event))",
                "await context.parallel([branch])",
            ],
            "PRD207",
        ),
        (
            ["async def help():", "    context.step(charge(event))", "await help()"],
            "PRD207",
        ),
        (["charge(event)"], "PRD208"),
        (["x = charge(event)"], "PRD208"),
        (["return charge(event)"], "PRD208"),
        (["return {'paid': [charge(each) for each in event]}"], "PRD208"),
        (["step = charge(event)", "return step"], "PRD208"),
        (["await context.step(lambda _: charge(event))"], "PRD208"),
        (["await context.map(event, lambda c, item, i, all: charge(item))"], "PRD208"),
        (["return context.step(charge(event))"], "PRD209"),
        (["return [context.step(charge(each)) for each in event]"], "PRD209"),
        (["return plain(event)"], "PRD209"),
        (["return {'a': plain(event)}"], "PRD209"),
        (["task = asyncio.create_task(plain(event))", "return task"], "PRD209"),
        (["return asyncio.gather(plain(1), plain(2))"], "PRD209"),
        (
            ["async def body(step):", "    return plain(event)", "await context.step(body)"],
            "PRD209",
        ),
    ],
)
def test_what_is_made_and_never_runs_is_reported(lines: list[str], rule: str) -> None:
    assert rules(async_handler(*lines)) == [rule]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("charge(event)", "PRD208"),
        ("return charge(event)", "PRD208"),
        ("return plain(event)", "PRD209"),
        ("context.run_in_child_context(lambda own: charge(event))", "PRD208"),
    ],
)
def test_handlers_that_are_not_async_forget_too(line: str, rule: str) -> None:
    assert rules(handler(line, before=BEFORE)) == [rule]


@pytest.mark.parametrize(
    "lines",
    [
        ["x = context.step(charge(event))", "await x"],
        ["x = context.step(charge(event))", "return await asyncio.gather(x, plain(1))"],
        ["x = [context.step(charge(each)) for each in event]", "return [await y for y in x]"],
        ["x = context.step(charge(event))", "async def later():", "    await x", "await later()"],
        ["calls = {'a': context.step(charge(event))}", "return await calls['a']"],
        ["asyncio.create_task(context.step(charge(event)))", "await asyncio.sleep(0)"],
        ["x = context.uuid()", "y = context.random().random()", "return str(context.uuid())"],
        ["context.uuid()", "context.logger.info('x')", "return f'{context.uuid()}'"],
        ["step = charge(event)", "return await context.step(step)"],
        [
            "steps = [charge(each) for each in event]",
            "return [await context.step(s) for s in steps]",
        ],
        ["return await context.step(made(event))"],
        ["x = made(event)", "return await context.step(x)"],
        ["async for each in source(event):", "    await context.step(charge(each))"],
        ["return await context.map(event, lambda c, item, i, all: c.step(charge(item)))"],
        ["return await context.parallel([lambda c: both(c, 1), lambda c: c.step(charge(1))])"],
        ["return await context.run_in_child_context(lambda own: plain(event))"],
        ["def body(step):", "    return plain(event)", "return await context.step(body)"],
        ["def make():", "    return context.step(charge(event))", "return await make()"],
        ["async def make():", "    return plain(event)", "return await (await make())"],
        ["call = context.step", "return await call(charge(event))"],
        ["async with asyncio.TaskGroup() as group:", "    group.create_task(both(context, 1))"],
        ["x = context.step(charge(event))", "x.close()"],
    ],
)
def test_what_may_be_awaited_elsewhere_is_left_alone(lines: list[str]) -> None:
    assert check(async_handler(*lines)) == []


def test_a_handler_that_is_not_async_awaits_nothing() -> None:
    lines = ["x = context.step(charge(event))", "context.wait(event)", "return context.now()"]
    assert [rule for rule in rules(handler(*lines, before=BEFORE)) if rule != "PRD205"] == []


def test_an_async_helper_of_the_blocking_context_is_left_alone() -> None:
    source = "async def help(context: DurableContext):\n    context.step(print)\n"
    assert rules(source) == []


def test_findings_say_what_to_write() -> None:
    found = check(async_handler("x = context.step(charge(1))", "charge(2)", "return plain(3)"))
    assert [each.message for each in found] == [
        (
            "`context.step` is not awaited, so it does not run; write `await context.step(…)`, or"
            " gather it with others"
        ),
        "what `charge(…)` makes never runs; write `context.step(charge(…))`",
        "the result is a coroutine, which never runs; write `await plain(…)`",
    ]
