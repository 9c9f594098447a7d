"""Context variables: each body reads what was set around it, and leaves nothing behind."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, PlainFunction
from perdure.config import Duration, StepConfig
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import FunctionSettings, Succeeded
from tests.sdk.hosted import Hosted, handler, hosted_async

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")

ONCE: WaitForConditionConfig[Any] = WaitForConditionConfig(
    lambda _state, _attempt: WaitForConditionDecision.stop_polling(), None
)


def note(*_: Any) -> str:
    """Return what a body reads, and leave something else."""
    seen = VARIABLE.get()
    VARIABLE.set("left by a body")
    return seen


async def note_later(*_: Any) -> str:
    """Do the same with some steps of the loop between."""
    await asyncio.sleep(0)
    seen = VARIABLE.get()
    VARIABLE.set("left by a body")
    await asyncio.sleep(0)
    assert VARIABLE.get() == "left by a body"
    return seen


Call = Callable[[Any, Callable[..., Any]], Any]

BODIES: dict[str, Call] = {
    "step": lambda context, body: context.step(body, "step"),
    "step with a timeout": lambda context, body: context.step(
        body, "step", StepConfig(timeout=Duration.from_seconds(60))
    ),
    "condition": lambda context, body: context.wait_for_condition(body, config=ONCE),
    "child": lambda context, body: context.run_in_child_context(body),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_sees_what_its_handler_set_and_leaves_nothing(kind: str) -> None:
    def body(_: Any, context: DurableContext) -> Any:
        VARIABLE.set("handler")
        seen = [BODIES[kind](context, note) for _ in range(2)]
        return [*seen, VARIABLE.get()]

    assert Hosted(handler(body)).run() == Succeeded('["handler", "handler", "handler"]')


@pytest.mark.parametrize("noting", [note, note_later])
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_of_an_async_handler_does_so_too(kind: str, noting: Callable[..., Any]) -> None:
    async def body(context: AsyncDurableContext) -> Any:
        VARIABLE.set("handler")
        seen = [await BODIES[kind](context, noting) for _ in range(2)]
        return [*seen, VARIABLE.get()]

    assert hosted_async(body).run() == Succeeded('["handler", "handler", "handler"]')


def test_branches_leave_nothing_to_each_other() -> None:
    def body(_: Any, context: DurableContext) -> Any:
        VARIABLE.set("handler")
        return [*context.parallel([note, note, note]).get_results(), VARIABLE.get()]

    async def same(context: AsyncDurableContext) -> Any:
        VARIABLE.set("handler")
        batch = await context.parallel([note_later, note_later, note_later])
        return [*batch.get_results(), VARIABLE.get()]

    seen = '["handler", "handler", "handler", "handler"]'
    assert Hosted(handler(body)).run() == Succeeded(seen)
    assert hosted_async(same).run() == Succeeded(seen)


def test_a_submitter_leaves_nothing() -> None:
    def body(_: Any, context: DurableContext) -> Any:
        context.wait_for_callback(note, "ask")
        return VARIABLE.get()

    host = Hosted(handler(body))
    host.run()
    host.succeed_callback('"yes"')
    assert host.run() == Succeeded('"unset"')


def test_an_execution_leaves_nothing_to_the_next_one_on_its_thread() -> None:
    plain = PlainFunction(note, FunctionSettings("plain"))

    async def note_with_context(_: AsyncDurableContext) -> str:
        return await note_later()

    for _ in range(2):
        assert Hosted(handler(note)).run() == Succeeded('"unset"')
        assert Hosted(plain).run() == Succeeded('"unset"')
        assert hosted_async(note_with_context).run() == Succeeded('"unset"')
    assert VARIABLE.get() == "unset"


def test_an_execution_sees_what_was_set_before_it_was_run() -> None:
    def run() -> None:
        VARIABLE.set("before")
        assert Hosted(handler(note)).run() == Succeeded('"before"')
        assert VARIABLE.get() == "before"

    copy_context().run(run)


def test_a_step_of_an_async_handler_runs_in_the_task_that_awaits_it() -> None:
    async def body(context: AsyncDurableContext) -> bool:
        async def limited(_: object) -> bool:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                inner = group.create_task(note_later())
            return asyncio.current_task() is task and inner.result() == "unset"

        task = asyncio.current_task()
        return await context.step(limited, "limited")

    assert hosted_async(body).run() == Succeeded("true")


def test_a_child_that_waits_beside_others_lets_the_invocation_suspend() -> None:
    async def child(context: AsyncDurableContext) -> str:
        event = asyncio.Event()

        async def wait(inner: AsyncDurableContext) -> None:
            await inner.wait(Duration(60))
            event.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(context.run_in_child_context(wait))
            await event.wait()  # only the other task can end this
        return VARIABLE.get()

    async def body(context: AsyncDurableContext) -> Any:
        return await context.run_in_child_context(child)

    assert hosted_async(body).finish() == Succeeded('"unset"')
