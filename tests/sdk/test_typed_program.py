"""Typed values in a whole program, live and replayed, blocking and async."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from perdure.config import Duration
from perdure.context import (
    DurableContext,
    durable_parallel_branch,
    durable_step,
    durable_with_child_context,
)
from perdure.context.async_context import AsyncDurableContext
from perdure.execution import durable_execution
from perdure.testing import DurableFunctionTestRunner
from perdure.types import StepContext


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Order:
    id: int
    colours: frozenset[Colour] = frozenset()


RED = frozenset({Colour.RED})


@durable_step
def paint(step_context: StepContext, number: int) -> Order:
    return Order(number, RED)


@durable_with_child_context
def group(context: DurableContext, number: int) -> list[Order]:
    return [context.step(paint(number))]


@durable_parallel_branch()
def numbers(context: DurableContext, number: int) -> set[int]:
    return {number}


def untyped(context: DurableContext):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return 1, 2


def again(context: DurableContext, order: Order, index: int, orders: Any) -> Order:
    return context.step(paint(order.id))


@durable_execution
def typed(event: Order, context: DurableContext) -> dict[int, Order]:
    orders = [context.step(paint(event.id)), *context.run_in_child_context(group(2))]
    context.wait(Duration(1))  # the record is read again after it
    found = context.map(orders, again).get_results()
    assert found == orders == [Order(1, RED), Order(2, RED)]
    branches: list[Any] = [numbers(1), untyped]
    assert context.parallel(branches).get_results() == [{1}, (1, 2)]
    return {order.id: order for order in found}


@durable_step
async def paint_later(step_context: StepContext, number: int) -> Order:
    return Order(number, RED)


async def group_later(context: AsyncDurableContext) -> set[Order]:
    return {await context.step(paint_later(2))}


async def again_later(context: AsyncDurableContext, order: Order, index: int, orders: Any) -> Order:
    return await context.step(paint_later(order.id))


@durable_execution
async def typed_later(event: Order, context: AsyncDurableContext) -> list[Order]:
    orders = [await context.step(paint_later(event.id))]
    orders.extend(await context.run_in_child_context(group_later))
    await context.wait(Duration(1))
    found = (await context.map(orders, again_later)).get_results()
    assert found == orders == [Order(1, RED), Order(2, RED)]
    return found


def test_an_async_handler_gets_the_same() -> None:
    with DurableFunctionTestRunner(typed_later) as runner:
        assert runner.run({"id": 1}).value == [
            {"id": 1, "colours": ["red"]},
            {"id": 2, "colours": ["red"]},
        ]


def test_every_operation_gives_back_what_its_function_says() -> None:
    with DurableFunctionTestRunner(typed) as runner:
        assert runner.run({"id": 1}).value == {
            "1": {"id": 1, "colours": ["red"]},
            "2": {"id": 2, "colours": ["red"]},
        }


def test_an_input_that_is_something_else_fails_the_execution() -> None:
    with DurableFunctionTestRunner(typed) as runner:
        error = runner.run({"id": "x"}).error
    assert error is not None
    assert error.type == "perdure.exceptions.ValidationError"
    assert "$.id: expected int, got str 'x'" in (error.message or "")
