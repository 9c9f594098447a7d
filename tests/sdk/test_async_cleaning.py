"""Tasks that an async handler leaves running: started, cancelled once, and awaited."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from perdure import AsyncDurableContext, PlainContext, PlainFunction
from perdure.drivers.tasks import START_ROUNDS_MAX
from perdure.worker_api import (
    FunctionSettings,
    HandlerLoop,
    InvocationEnvironment,
    Lost,
    Outcome,
    Succeeded,
    run_invocation_async,
)
from tests.sdk.hosted import hosted_async
from tests.sdk.scripted import Scripted, delivery


def test_tasks_that_were_just_made_begin_before_they_are_cancelled() -> None:
    started: list[int] = []

    async def link(number: int) -> None:
        started.append(number)
        if number < START_ROUNDS_MAX:
            await asyncio.create_task(hold(link(number + 1)))
        await asyncio.Event().wait()

    async def hold(work: Coroutine[Any, Any, None]) -> None:
        await work  # a coroutine that is never awaited causes a warning, which fails tests

    async def body(_context: AsyncDurableContext) -> str:
        body.task = asyncio.create_task(link(1))  # type: ignore[attr-defined]
        return "done"

    assert hosted_async(body).run() == Succeeded('"done"')
    assert started == list(range(1, START_ROUNDS_MAX + 1))


def test_a_chain_of_new_tasks_without_end_is_cancelled() -> None:
    started: list[int] = []

    async def link(number: int) -> None:
        started.append(number)
        await asyncio.create_task(link(number + 1))

    async def body(_context: AsyncDurableContext) -> str:
        body.task = asyncio.create_task(link(1))  # type: ignore[attr-defined]
        return "done"

    assert hosted_async(body).run() == Succeeded('"done"')
    assert START_ROUNDS_MAX <= len(started) < 2 * START_ROUNDS_MAX  # there are rounds before, too


def test_a_turn_that_passes_while_a_handler_cleans_up_lets_it_clean_up() -> None:
    cleaned: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await passed.wait()
            cleaned.append("task")

    async def handle(_event: Any, _context: PlainContext) -> str:
        handle.task = asyncio.create_task(linger())  # type: ignore[attr-defined]
        return "done"

    async def scenario() -> Outcome:
        function = PlainFunction(handle, FunctionSettings("under-test"))
        running = asyncio.create_task(
            run_invocation_async(function, InvocationEnvironment(delivery(), Scripted()))
        )
        await cleaning.wait()
        running.cancel()
        await asyncio.sleep(0)
        passed.set()
        return await running

    cleaning, passed = asyncio.Event(), asyncio.Event()
    with asyncio.Runner(loop_factory=HandlerLoop) as runner:
        assert runner.run(scenario()) == Lost()
    assert cleaned == ["task"]


def test_an_async_generator_that_is_still_referenced_is_closed_with_its_loop() -> None:
    held: list[AsyncGenerator[int]] = []
    closed: list[str] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async def body(_context: AsyncDurableContext) -> int:
        held.append(numbers())
        return await anext(held[0])

    assert hosted_async(body).run() == Succeeded("1")
    assert closed == ["closed"]
