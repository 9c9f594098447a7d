"""Idempotency keys: each operation has its own."""

import re
from typing import Any

from perdure import AsyncDurableContext, DurableContext, StepContext
from perdure.config import Duration, StepConfig, WaitForCallbackConfig
from perdure.operations.identity import idempotency_key, operation_id
from perdure.retries import RetryPresets
from perdure.types import WaitForCallbackContext, WaitForConditionCheckContext
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from tests.sdk.hosted import Crash, Hosted, async_handler, handler

FIXED = StepConfig(retry_strategy=RetryPresets.fixed(Duration(1)))


class Charges:
    """A body that fails once, and records the keys it received."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, step: StepContext) -> None:
        self.keys.append(step.idempotency_key)
        if step.attempt == 1:
            raise OSError("busy")


def test_a_key_is_the_same_in_every_attempt_and_after_a_crash() -> None:
    charge = Charges()
    # The second attempt has run when the worker is lost, and runs again.
    host = Hosted(
        handler(lambda _, context: context.step(charge, config=FIXED)),
        crashes=[Crash(2, accepted=False)],
    )
    host.finish()
    assert charge.keys == [idempotency_key(host.arn, operation_id(None, 1))] * 3


def test_a_key_is_of_one_operation_and_of_one_execution() -> None:
    places = [(arn, operation_id(None, n)) for arn in ("arn:a", "arn:b") for n in range(1, 4)]
    keys = {idempotency_key(*place) for place in places}
    assert len(keys) == len(places)
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_a_submitter_and_a_check_have_keys_that_stay() -> None:
    keys: list[list[str]] = [[], []]

    def submit(_: str, submitter: WaitForCallbackContext) -> None:
        keys[0].append(submitter.idempotency_key)
        if len(keys[0]) == 1:
            raise OSError("busy")

    def check(state: int, condition: WaitForConditionCheckContext) -> int:
        keys[1].append(condition.idempotency_key)
        return state + 1

    def strategy(state: int, _: int) -> WaitForConditionDecision:
        if state == 2:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration(1))

    def handle(_: Any, context: DurableContext) -> None:
        context.wait_for_condition(check, WaitForConditionConfig(strategy, 0))
        config = WaitForCallbackConfig(retry_strategy=RetryPresets.fixed(Duration(1)))
        context.wait_for_callback(submit, config=config)

    host = Hosted(handler(handle))
    host.run()
    host.pass_time()
    host.run()
    host.pass_time()
    host.run()
    assert [len(each) for each in keys] == [2, 2]
    assert [len(set(each)) for each in keys] == [1, 1]
    assert keys[0][0] != keys[1][0]
    assert "" not in keys[0] + keys[1]


def test_an_async_body_has_the_key_that_a_sync_one_has() -> None:
    keys: list[str] = []

    async def body(step: StepContext) -> None:
        keys.append(step.idempotency_key)

    async def handle(_: Any, context: AsyncDurableContext) -> None:
        await context.step(body)

    host = Hosted(async_handler(handle))
    host.run()
    assert keys == [idempotency_key(host.arn, operation_id(None, 1))]
