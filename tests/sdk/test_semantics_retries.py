"""The numbers of every preset and of every default strategy, with chance held fixed."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DurableContext, WithRetryConfig, with_retry
from perdure.config import CallbackConfig, Duration, JitterStrategy
from perdure.exceptions import WaitForConditionError
from perdure.retries import (
    LinearRetryStrategyConfig,
    RetryPresets,
    RetryStrategy,
    RetryStrategyConfig,
    create_linear_retry_strategy,
    create_retry_strategy,
)
from perdure.waits import WaitStrategyConfig, create_wait_strategy
from perdure.worker_api import Succeeded
from perdure_core.model import OperationAction
from tests.sdk.hosted import Hosted, handler

PRESETS: list[tuple[Callable[[], RetryStrategy], list[int], list[int]]] = [
    (RetryPresets.none, [], []),
    (RetryPresets.default, [5, 10, 20, 40, 60], [1, 1, 1, 1, 1]),
    (RetryPresets.transient, [5, 10], [3, 5]),
    (RetryPresets.resource_availability, [5, 10, 20, 40], [1, 1, 1, 1]),
    (RetryPresets.critical, [1, 2, 3, 4, 6, 8, 12, 18, 26], [1, 2, 3, 4, 6, 8, 12, 18, 26]),
    (RetryPresets.linear, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
    (RetryPresets.fixed, [5, 5, 5, 5], [5, 5, 5, 5]),
    (create_retry_strategy, [5, 10], [1, 1]),
    (create_linear_retry_strategy, [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]),
]


def hold_chance(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    monkeypatch.setattr("perdure.primitives.jitter.random.random", lambda: chance)


def delays(strategy: RetryStrategy) -> list[int]:
    found: list[int] = []
    while (decision := strategy(OSError(), len(found) + 1)).should_retry:
        found.append(decision.delay_seconds)
    return found


@pytest.mark.parametrize(("make", "longest", "shortest"), PRESETS)
def test_a_preset_has_the_published_numbers(
    make: Callable[[], RetryStrategy],
    longest: list[int],
    shortest: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold_chance(monkeypatch, 1.0)
    assert delays(make()) == longest
    hold_chance(monkeypatch, 0.0)
    assert delays(make()) == shortest


@pytest.mark.parametrize(("chance", "first", "last"), [(1.0, 5, 300), (0.0, 1, 1)])
def test_a_wait_strategy_has_the_published_numbers(
    chance: float, first: int, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_chance(monkeypatch, chance)
    strategy = create_wait_strategy(WaitStrategyConfig[int](lambda _: True))
    assert strategy(0, 1).delay_seconds == first
    assert strategy(0, 59).delay_seconds == last
    with pytest.raises(WaitForConditionError):
        strategy(0, 60)


def test_delays_are_rounded_up_after_jitter() -> None:
    assert JitterStrategy.NONE.finalize_delay(2.25) == 3
    assert JitterStrategy.NONE.finalize_delay(0) == 1


def recorded_delays(body: Callable[[DurableContext], Any]) -> list[int | None]:
    host = Hosted(handler(lambda _, context: body(context)))
    assert host.finish() == Succeeded("null")
    return [
        update.next_attempt_delay_ms or update.wait_ms
        for call in host.calls
        for update in call
        if update.next_attempt_delay_ms
        or (update.wait_ms and update.action is OperationAction.START)
    ]


def fail(*_: Any) -> None:
    raise OSError("no")


DEFAULTS: list[tuple[Callable[[DurableContext], Any], list[int]]] = [
    (lambda context: context.step(fail), [5_000, 10_000, 20_000, 40_000, 60_000]),
    (lambda context: context.wait_for_callback(fail), [5_000, 10_000, 20_000, 40_000, 60_000]),
    (lambda context: with_retry(context, fail, WithRetryConfig()), [5_000, 10_000]),
]


@pytest.mark.parametrize(("call", "expected"), DEFAULTS)
def test_an_operation_without_a_strategy_retries_by_its_default(
    call: Callable[[DurableContext], Any],
    expected: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def body(context: DurableContext) -> None:
        with pytest.raises(Exception, match="no"):
            call(context)

    hold_chance(monkeypatch, 1.0)
    assert recorded_delays(body) == expected


def test_a_custom_strategy_is_any_callable() -> None:
    asked: list[tuple[str, int]] = []

    def strategy(error: Exception, attempt: int) -> Any:
        asked.append((str(error), attempt))
        return RetryPresets.fixed(Duration(2))(error, attempt)

    with_retry_config = WithRetryConfig[None](strategy, wrap_with_run_in_child_context=False)

    def block(_context: DurableContext, attempt: int) -> None:
        if attempt < 3:
            raise OSError(attempt)

    host = Hosted(handler(lambda _, context: with_retry(context, block, with_retry_config)))
    assert host.finish() == Succeeded("null")
    assert set(asked) == {("1", 1), ("2", 2)}


def test_settings_tell_their_delays_in_seconds() -> None:
    exponential, linear = RetryStrategyConfig(), LinearRetryStrategyConfig()
    polling = WaitStrategyConfig[int](lambda _: True)
    assert [config.initial_delay_seconds for config in (exponential, linear, polling)] == [5, 1, 5]
    assert {config.max_delay_seconds for config in (exponential, linear, polling)} == {300}
    assert linear.increment_seconds == 1
    assert CallbackConfig(heartbeat_timeout=Duration(7)).heartbeat_timeout_seconds == 7
