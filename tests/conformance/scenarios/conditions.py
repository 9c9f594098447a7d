"""Polled conditions: met, never met, and checks that raise."""

from perdure import AsyncDurableContext, WaitForConditionError
from perdure.config import Duration
from perdure.types import WaitForConditionCheckContext
from perdure.waits import (
    JitterStrategy,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WaitStrategyConfig,
    create_wait_strategy,
)
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import TICK


def until(limit: int) -> WaitForConditionConfig[int]:
    """Wait until the count reaches the limit."""

    def decide(counted: int, _attempt: int) -> WaitForConditionDecision:
        if counted < limit:
            return WaitForConditionDecision.continue_waiting(TICK)
        return WaitForConditionDecision.stop_polling()

    return WaitForConditionConfig(decide, 0)


async def count(state: int, _: WaitForConditionCheckContext) -> int:
    """Count the checks."""
    return state + 1


@scenario(
    End.succeeded(3),
    """
    1 StepStarted 'poll' as WaitForCondition
    1 StepSucceeded 'poll' as WaitForCondition · = 1 · attempt 1 · again in 50 ms
    1 StepStarted 'poll' as WaitForCondition
    1 StepSucceeded 'poll' as WaitForCondition · = 2 · attempt 2 · again in 50 ms
    1 StepStarted 'poll' as WaitForCondition
    1 StepSucceeded 'poll' as WaitForCondition · = 3 · attempt 3
    """,
)
async def condition_is_met(context: AsyncDurableContext) -> int:
    return await context.wait_for_condition(count, until(3), "poll")


@scenario(
    End.succeeded("The condition was not met in 2 checks."),
    """
    1 StepStarted 'poll' as WaitForCondition
    1 StepSucceeded 'poll' as WaitForCondition · = 1 · attempt 1 · again in 1000 ms
    1 StepStarted 'poll' as WaitForCondition
    1 StepFailed 'poll' as WaitForCondition
    · WaitForConditionError: The condition was not met in 2 checks. · attempt 2
    """,
)
async def condition_is_never_met(context: AsyncDurableContext) -> object:
    strategy = WaitStrategyConfig[int](
        lambda counted: counted < 9,
        max_attempts=2,
        initial_delay=Duration(1),
        jitter_strategy=JitterStrategy.NONE,
    )
    config = WaitForConditionConfig(create_wait_strategy(strategy), 0)
    try:
        return await context.wait_for_condition(count, config, "poll")
    except WaitForConditionError as error:
        return error.message


@scenario(
    End.failed("perdure.exceptions.WaitForConditionError", "cannot look"),
    """
    1 StepStarted 'poll' as WaitForCondition
    1 StepSucceeded 'poll' as WaitForCondition · = 1 · attempt 1 · again in 50 ms
    1 StepStarted 'poll' as WaitForCondition
    1 StepFailed 'poll' as WaitForCondition · OSError: cannot look · attempt 2
    """,
)
async def condition_cannot_be_checked(context: AsyncDurableContext) -> int:
    def check(state: int, _: WaitForConditionCheckContext) -> int:
        if state:
            raise OSError("cannot look")
        return state + 1

    return await context.wait_for_condition(check, until(9), "poll")
