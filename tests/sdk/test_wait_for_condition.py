"""Waiting for a condition: polled, with the state of the last check, until a strategy stops."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DurableContext, ExecutionError, ValidationError, WaitForConditionError
from perdure.config import Duration
from perdure.primitives.jitter import JitterStrategy
from perdure.types import WaitForConditionCheckContext
from perdure.waits import (
    WaitForConditionConfig,
    WaitForConditionDecision,
    WaitStrategyConfig,
    create_wait_strategy,
)
from perdure.worker_api import Failed, Outcome, Succeeded
from perdure_core.model import OperationAction
from tests.sdk.hosted import Hosted, handler

Check = Callable[[Any, WaitForConditionCheckContext], Any]
Strategy = Callable[[Any, int], WaitForConditionDecision]


def up_to(limit: int, **options: Any) -> Strategy:
    options.setdefault("jitter_strategy", JitterStrategy.NONE)
    return create_wait_strategy(WaitStrategyConfig[Any](lambda state: state < limit, **options))


def polling(check: Check, strategy: Strategy, initial: Any = 0) -> tuple[Hosted, Outcome]:
    config = WaitForConditionConfig[Any](wait_strategy=strategy, initial_state=initial)
    host = Hosted(handler(lambda _, context: context.wait_for_condition(check, config, "poll")))
    return host, host.finish()


def test_it_returns_the_state_at_which_the_strategy_stopped() -> None:
    host, outcome = polling(lambda state, _: state + 1, up_to(3))
    assert outcome == Succeeded("3")
    assert host.updates == ["START STEP", "RETRY STEP"] * 2 + ["START STEP", "SUCCEED STEP"]
    (operation,) = host.state.operations.values()
    assert (operation.name, operation.sub_type) == ("poll", "WaitForCondition")


def test_the_state_and_the_delay_travel_with_every_retry() -> None:
    host, _ = polling(lambda state, _: state + 1, up_to(3))
    retries = [u for call in host.calls for u in call if u.action is OperationAction.RETRY]
    assert [(u.payload, u.next_attempt_delay_ms) for u in retries] == [("1", 5_000), ("2", 8_000)]


def test_the_check_receives_its_attempt_and_the_round_trip_of_the_state() -> None:
    seen: list[Any] = []

    def check(state: Any, context: Any) -> Any:
        seen.append((state, context.attempt))
        context.logger.info("checked")
        return (*state, 1)

    strategy = create_wait_strategy(WaitStrategyConfig[Any](lambda state: len(state) < 2))
    polling(check, strategy, ())
    assert seen == [((), 1), ((1,), 2)]


def test_a_check_that_raises_fails_at_once() -> None:
    def check(_state: int, _context: object) -> int:
        raise OSError("unplugged")

    def body(_: Any, context: DurableContext) -> Any:
        config = WaitForConditionConfig[int](up_to(3), 0)
        errors: list[Any] = []
        try:
            context.wait_for_condition(check, config)
        except WaitForConditionError as error:
            errors = [str(error), error.error_type]
        context.wait(Duration(5))
        return errors

    host = Hosted(handler(body))
    assert host.finish() == Succeeded('["unplugged", "OSError"]')
    assert "RETRY STEP" not in host.updates


def test_an_exhausted_strategy_fails_with_its_own_error() -> None:
    host, outcome = polling(lambda state, _: state + 1, up_to(3, max_attempts=2))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.WaitForConditionError"
    assert outcome.error.message == "The condition was not met in 2 checks."
    assert host.updates[-1] == "FAIL STEP"


def test_a_condition_met_in_the_last_check_allowed_succeeds() -> None:
    assert polling(lambda state, _: state + 1, up_to(3, max_attempts=3))[1] == Succeeded("3")


def test_a_strategy_that_raises_fails_the_operation() -> None:
    def broken(_state: int, _attempt: int) -> WaitForConditionDecision:
        raise KeyError("oops")

    _, outcome = polling(lambda state, _: state, broken)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "'oops'"


def test_a_state_that_is_too_large_fails_the_execution() -> None:
    _, outcome = polling(lambda _state, _: "x" * 67_108_863, up_to(3))
    assert isinstance(outcome, Failed)
    assert "at most 67,108,864" in (outcome.error.message or "")


def test_an_execution_error_of_a_check_ends_the_execution() -> None:
    def check(_state: int, _context: object) -> int:
        raise ExecutionError("enough")

    host, outcome = polling(check, up_to(3))
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "enough"
    assert "FAIL STEP" not in host.updates


@pytest.mark.parametrize(("delay", "waited_ms"), [(Duration(), 1_000), (Duration(0, 200), 200)])
def test_a_check_comes_after_the_very_delay_and_without_one_after_a_second(
    delay: Duration, waited_ms: int
) -> None:
    decisions = [
        WaitForConditionDecision.continue_waiting(delay),
        WaitForConditionDecision.stop_polling(),
    ]
    host, _ = polling(lambda state, _: state, lambda _state, _: decisions.pop(0))
    retries = [u for call in host.calls for u in call if u.action is OperationAction.RETRY]
    assert [u.next_attempt_delay_ms for u in retries] == [waited_ms]


def test_strategies_grow_by_their_rate_up_to_their_limit() -> None:
    strategy = up_to(9, max_delay=Duration(20))
    delays = [strategy(0, attempt).delay_seconds for attempt in (1, 2, 3, 4, 5, 59)]
    assert delays == [5, 8, 12, 17, 20, 20]
    assert up_to(9, backoff_rate=1e300, max_attempts=9)(0, 3).delay_seconds == 300


def test_a_coroutine_function_is_no_check() -> None:
    async def later(_state: int, _context: Any) -> int:
        return 1

    def body(_: Any, context: DurableContext) -> str:
        with pytest.raises(ValidationError):
            context.wait_for_condition(later, WaitForConditionConfig(up_to(1), 0))  # type: ignore[arg-type]
        return "refused"

    assert Hosted(handler(body)).finish() == Succeeded('"refused"')
