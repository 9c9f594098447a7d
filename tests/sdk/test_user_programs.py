"""Programs as users write them: what `mypy --strict` and pyright's strict mode make of them.

Both check this file as part of `make check`; `assert_type` states what they must infer. The
programs run too.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type

from perdure import (
    AsyncDurableContext,
    BatchResult,
    DurableContext,
    StepContext,
    WithRetryConfig,
    durable_execution,
    durable_step,
    with_retry,
)
from perdure.config import (
    CallbackConfig,
    Duration,
    MapConfig,
    StepConfig,
    WaitForCallbackConfig,
)
from perdure.context import (
    durable_parallel_branch,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.retries import RetryPresets
from perdure.types import WaitForCallbackContext, WaitForConditionCheckContext
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import RegisteredFunction, Succeeded
from tests.sdk.hosted import Hosted


@dataclass
class Order:
    id: str
    amounts: list[int]


@durable_step
def charge(step: StepContext, order: Order, *, tries: int = 1) -> int:
    return sum(order.amounts) * tries + step.attempt


@durable_with_child_context
def ship(context: DurableContext, order: Order) -> str:
    return context.step(lambda _: f"shipped {order.id}", "ship")


@durable_parallel_branch()
def notify(context: DurableContext, order: Order) -> str:
    return context.step(lambda _: f"notified {order.id}", "tell")


@durable_wait_for_callback
def ask(callback_id: str, context: WaitForCallbackContext, whom: str) -> None:
    context.logger.info("%s has %s", whom, callback_id)


def pick(context: DurableContext, amount: int, index: int, amounts: list[int]) -> str:
    return context.step(lambda _: f"{amount}/{sum(amounts)}", f"pick {index}")


def pick_any(context: DurableContext, amount: int, _index: int, _amounts: Sequence[int]) -> int:
    return context.step(lambda _: amount, "pick")


def poll(state: int, _check: WaitForConditionCheckContext) -> int:
    return state + 1


def enough(state: int, _attempt: int) -> WaitForConditionDecision:
    if state > 1:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(Duration.from_seconds(1))


def attempt(context: DurableContext, number: int) -> str:
    return context.step(lambda _: f"try {number}", "try")


@durable_execution
def checkout(event: Order, context: DurableContext) -> dict[str, Any]:
    config = StepConfig(
        retry_strategy=RetryPresets.fixed(Duration.from_seconds(1), max_attempts=3),
        timeout=Duration.from_minutes(1),
    )
    charged = assert_type(context.step(charge(event, tries=2), config=config), int)
    context.wait(timedelta(seconds=2))
    began = assert_type(context.now(), datetime)
    picked = assert_type(context.map(event.amounts, pick), BatchResult[str])
    any_picked = assert_type(
        context.map(event.amounts, pick_any, config=MapConfig(max_concurrency=2)), BatchResult[int]
    )
    errors = picked.get_errors()
    notified = assert_type(context.parallel([notify(event), notify(event)]), BatchResult[str])
    first = assert_type(context.race([ship(event), ship(event)]), str)
    every = assert_type(context.all_of([notify(event), notify(event)]), list[str])
    shipped = assert_type(context.run_in_child_context(ship(event)), str)
    counted = assert_type(
        context.wait_for_condition(poll, WaitForConditionConfig(enough, initial_state=0)), int
    )
    tried = assert_type(with_retry(context, attempt, WithRetryConfig()), str)
    return {
        "charged": charged,
        "began": began.tzinfo is not None,
        "picked": picked.get_results(),
        "any": any_picked.get_results(),
        "errors": [str(error) for error in errors],
        "notified": notified.get_results(),
        "first": first,
        "every": every,
        "shipped": shipped,
        "counted": counted,
        "tried": tried,
    }


@durable_execution
def approve(event: Order, context: DurableContext) -> str:
    del event
    config = WaitForCallbackConfig(timeout=Duration.from_hours(1))
    answer: str = context.wait_for_callback(ask("Ada"), "approval", config)
    callback = context.create_callback("second", CallbackConfig(timeout=Duration.from_hours(1)))
    second: str = callback.result()
    return answer + second


async def fetch(step: StepContext) -> int:
    return step.attempt


async def pick_here(
    context: AsyncDurableContext, amount: int, _index: int, amounts: list[int]
) -> str:
    return await context.step(lambda _: f"{amount}/{sum(amounts)}")


async def both(context: AsyncDurableContext) -> tuple[int, int]:
    return await asyncio.gather(context.step(fetch), context.step(fetch))


@durable_execution
async def gather(event: Order, context: AsyncDurableContext) -> dict[str, Any]:
    charged = assert_type(await context.step(charge(event)), int)
    fetched, other = await asyncio.gather(context.step(fetch), context.step(charge(event)))
    assert_type(fetched, int)
    picked = assert_type(await context.map(event.amounts, pick_here), BatchResult[str])
    pair = assert_type(await context.run_in_child_context(both), tuple[int, int])
    await context.wait(timedelta(seconds=1))
    return {
        "charged": charged,
        "fetched": [fetched, other],
        "picked": picked.get_results(),
        "pair": list(pair),
    }


ORDER = '{"id": "o-1", "amounts": [1, 2]}'


def ended(function: RegisteredFunction) -> str | None:
    outcome = Hosted(function, ORDER).finish()
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


def test_a_program_of_every_operation_runs() -> None:
    assert ended(checkout) == (
        '{"charged": 7, "began": true, "picked": ["1/3", "2/3"], "any": [1, 2], "errors": [],'
        ' "notified": ["notified o-1", "notified o-1"], "first": "shipped o-1",'
        ' "every": ["notified o-1", "notified o-1"], "shipped": "shipped o-1", "counted": 2,'
        ' "tried": "try 1"}'
    )


def test_a_program_that_asks_people_runs() -> None:
    host = Hosted(approve, ORDER)
    for answer in ("yes", "no"):
        host.run()
        host.succeed_callback(answer)
    assert host.run() == Succeeded('"yesno"')


def test_an_async_program_runs() -> None:
    assert ended(gather) == (
        '{"charged": 4, "fetched": [1, 4], "picked": ["1/3", "2/3"], "pair": [1, 1]}'
    )
