"""Identity of async operations: by the order of calls, whatever ends first."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import AsyncDurableContext, StepContext
from perdure.config import Duration
from perdure.worker_api import Diverged, Failed, Succeeded
from tests.sdk.hosted import Crash, Hosted, hosted_async

CRASHES = st.lists(st.builds(Crash, st.integers(1, 12), st.booleans()), max_size=3)


class Order:
    """Ends bodies of steps in a chosen order, as far as they have started."""

    def __init__(self, order: Sequence[int]) -> None:
        self._rank = {number: rank for rank, number in enumerate(order)}

    async def hold(self, number: int) -> int:
        for _ in range(3 * self._rank[number]):
            await asyncio.sleep(0)
        return number


async def work(context: AsyncDurableContext, order: Order, number: int) -> list[Any]:
    async def body(_: StepContext) -> int:
        return await order.hold(number)

    first = await context.step(body, f"first {number}")
    await context.wait(Duration(1 + number % 2), f"nap {number}")
    return [first, await context.step(lambda _: number * 10, f"second {number}")]


async def gathered(context: AsyncDurableContext, order: Order, numbers: range) -> Any:
    return await asyncio.gather(
        *(
            context.run_in_child_context(partial(work, order=order, number=n), f"child {n}")
            for n in numbers
        )
    )


async def grouped(context: AsyncDurableContext, order: Order, numbers: range) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                context.run_in_child_context(partial(work, order=order, number=n), f"child {n}")
            )
            for n in numbers
        ]
        before = await context.step(lambda _: "beside", "beside")
    return [task.result() for task in tasks] if before == "beside" else []


async def made_first(context: AsyncDurableContext, order: Order, numbers: range) -> Any:
    async def single(number: int) -> list[Any]:
        child = context.run_in_child_context(
            partial(work, order=order, number=number), f"child {number}"
        )
        result: list[Any] = await child
        return result

    tasks = [asyncio.create_task(single(number)) for number in numbers]
    await context.step(lambda _: "beside", "beside")
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("program", [gathered, grouped, made_first])
def test_operations_keep_their_places_whatever_ends_first(program: Any) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.permutations(range(4)), CRASHES)
    def check(order: list[int], crashes: list[Crash]) -> None:
        def host(place: list[int]) -> Hosted:
            return hosted_async(lambda context: program(context, Order(place), range(4)))

        whole, other = host([0, 1, 2, 3]), host(order)
        other.crashes = {crash.checkpoint: crash for crash in crashes}
        expected = [[number, number * 10] for number in range(4)]
        assert whole.finish() == Succeeded(str(expected))
        assert other.finish() == Succeeded(str(expected))
        places = {id_: op.name for id_, op in whole.state.operations.items()}
        assert {id_: op.name for id_, op in other.state.operations.items()} == places

    check()


def test_a_task_that_has_waited_is_refused_the_context_of_another() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        async def two(number: int) -> None:
            await context.step(lambda _: number, "first")
            await context.step(lambda _: number, "second")

        await asyncio.gather(two(1), two(2))

    outcome = hosted_async(body).run()
    assert isinstance(outcome, Failed)
    assert "Give the task its own context" in (outcome.error.message or "")


def test_a_call_inside_the_body_of_a_step_is_refused() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        async def work(_: StepContext) -> None:
            await context.wait(Duration(1))

        await context.step(work)

    outcome = hosted_async(body).run()
    assert isinstance(outcome, Failed)
    assert "inside a step" in (outcome.error.message or "")


def test_the_context_of_the_handler_is_refused_in_the_body_of_a_child() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        async def child(_: AsyncDurableContext) -> None:
            await context.wait(Duration(1))

        await context.run_in_child_context(child)

    outcome = hosted_async(body).run()
    assert isinstance(outcome, Failed)
    assert "Use the context passed to" in (outcome.error.message or "")


def test_a_replay_that_asks_for_something_else_stops_the_execution() -> None:
    runs: list[int] = []

    async def body(context: AsyncDurableContext) -> Any:
        runs.append(1)
        await context.step(lambda _: 1, f"run {len(runs)}")
        await context.wait(Duration(1))

    outcome = hosted_async(body).finish()
    assert isinstance(outcome, Diverged)
    assert "recorded:  STEP (Step) 'run 1'" in (outcome.error.message or "")
