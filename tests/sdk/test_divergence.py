"""Replays that differ from the history: reported with the line of the call."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure import AsyncDurableContext, DurableContext, StepContext
from perdure.config import ChildConfig, Duration
from perdure.primitives.call_site import user_line
from perdure.worker_api import Diverged, Outcome, Pending, Succeeded
from tests.sdk.hosted import Hosted, async_handler, handler

HERE = Path(__file__)


def nothing(_: StepContext) -> None:
    """Do nothing."""


def replayed(first: Any, then: Any) -> Outcome:
    """Run `first` until it waits, and then `then` on what it has recorded."""
    host = Hosted(handler(first))
    assert host.run() == Pending()
    host.function = handler(then)
    host.pass_time()
    return host.run()


def message_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Diverged), outcome
    return outcome.error.message or ""


def line_of(text: str) -> str:
    """Return file:line of the one line of this file that ends with `text`."""
    lines = HERE.read_text(encoding="utf-8").splitlines()
    (number,) = (at for at, line in enumerate(lines, 1) if line.endswith(text))
    return f"{HERE}:{number}"


def charging(_event: Any, context: DurableContext) -> None:
    context.step(nothing, name="charge")
    context.wait(Duration(5), name="rest")


async def charging_later(_event: Any, context: AsyncDurableContext) -> None:
    await context.step(nothing, name="charge")
    await context.wait(Duration(5), name="rest")


def test_the_line_of_a_blocking_call_is_named() -> None:
    def refunding(_event: Any, context: DurableContext) -> None:
        context.step(nothing, name="refund")  # asked here

    message = message_of(replayed(charging, refunding))
    assert "recorded:  STEP (Step) 'charge'\n" in message
    assert f"requested: STEP (Step) 'refund', at {line_of('# asked' + ' here')}\n" in message


def test_the_line_is_the_innermost_one_of_user_code() -> None:
    def refund(context: DurableContext) -> None:
        context.step(nothing, name="refund")  # asked deep down

    def refunding(_event: Any, context: DurableContext) -> None:
        refund(context)

    message = message_of(replayed(charging, refunding))
    assert f"at {line_of('# asked' + ' deep down')}\n" in message


def test_the_line_of_an_awaited_call_is_named() -> None:
    async def refunding(_event: Any, context: AsyncDurableContext) -> None:
        await context.step(nothing, name="refund")  # asked and awaited

    message = message_of(replayed(charging_later, refunding))
    assert f"at {line_of('# asked' + ' and awaited')}\n" in message


def test_the_line_of_a_call_that_a_task_carries_out_is_that_which_made_it() -> None:
    async def refunding(_event: Any, context: AsyncDurableContext) -> None:
        call = context.step(nothing, name="refund")  # asked for a task
        await asyncio.gather(asyncio.create_task(call))

    message = message_of(replayed(charging_later, refunding))
    assert f"at {line_of('# asked' + ' for a task')}\n" in message


def test_the_line_of_a_call_in_a_branch_is_named() -> None:
    def branching(name: str) -> Callable[[Any, DurableContext], Any]:
        def branch(context: DurableContext) -> None:
            context.step(nothing, name=name)  # asked in a branch
            context.wait(Duration(5))

        return lambda _event, context: context.parallel([branch, branch])

    message = message_of(replayed(branching("charge"), branching("refund")))
    assert f"at {line_of('# asked' + ' in a branch')}\n" in message


def test_the_line_of_a_context_that_becomes_virtual_is_named() -> None:
    def asking(*, virtual: bool) -> Callable[[Any, DurableContext], Any]:
        def body(child: DurableContext) -> None:
            child.wait(Duration(5))

        config = ChildConfig[Any](is_virtual=virtual)
        return lambda _event, context: context.run_in_child_context(body, "c", config)

    message = message_of(replayed(asking(virtual=False), asking(virtual=True)))
    assert f"at {HERE}:" in message


def test_there_is_no_line_where_no_user_code_is() -> None:
    assert user_line(None) is None


def test_an_async_handler_that_returns_before_a_recorded_call_differs() -> None:
    async def returning(_event: Any, context: AsyncDurableContext) -> None:
        await context.step(nothing, name="charge")

    message = message_of(replayed(charging_later, returning))
    assert "the handler returns before a durable call that is recorded" in message
    assert "recorded:  WAIT (Wait) 'rest'" in message


def test_an_async_handler_may_leave_a_task_behind_that_has_not_asked_again_yet() -> None:
    async def leaving(_event: Any, context: AsyncDurableContext) -> str:
        async def ask_late() -> None:
            for _ in range(slowness):
                await asyncio.sleep(0)
            await context.step(nothing, name="left")

        task = asyncio.create_task(ask_late())
        await context.wait(Duration(5), name="rest")
        return f"{len([task])} left"

    slowness = 0
    host = Hosted(async_handler(leaving))
    assert host.run() == Pending()
    slowness = 1_000
    host.pass_time()
    assert host.run() == Succeeded('"1 left"')
