"""Retry strategies: which failures are retried, and after which delays."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.config import Duration
from perdure.retries import (
    JitterStrategy,
    LinearRetryStrategyConfig,
    RetryDecision,
    RetryPresets,
    RetryStrategy,
    RetryStrategyConfig,
    create_linear_retry_strategy,
    create_retry_strategy,
)

FAILURE = ConnectionError("connection reset by peer")


def delays(strategy: RetryStrategy, error: Exception = FAILURE) -> list[int]:
    """Return the delays after attempt 1, 2, … until the strategy gives up."""
    found: list[int] = []
    while (decision := strategy(error, len(found) + 1)).should_retry:
        found.append(decision.delay_seconds)
    return found


def test_exponential_delays_grow_up_to_their_limit() -> None:
    config = RetryStrategyConfig(
        max_attempts=6, max_delay=Duration(30), jitter_strategy=JitterStrategy.NONE
    )
    assert delays(create_retry_strategy(config)) == [5, 10, 20, 30, 30]


def test_linear_delays_grow_by_the_increment() -> None:
    config = LinearRetryStrategyConfig(
        increment=Duration(2), max_delay=Duration(6), jitter_strategy=JitterStrategy.NONE
    )
    assert delays(create_linear_retry_strategy(config)) == [1, 3, 5, 6, 6]


def test_the_critical_preset_grows_by_half_and_rounds_up() -> None:
    assert delays(RetryPresets.critical()) == [1, 2, 3, 4, 6, 8, 12, 18, 26]


def test_the_linear_preset_counts_seconds() -> None:
    assert delays(RetryPresets.linear()) == [1, 2, 3, 4, 5]


def test_the_fixed_preset_keeps_its_interval() -> None:
    assert delays(RetryPresets.fixed()) == [5, 5, 5, 5]
    assert delays(RetryPresets.fixed(Duration.from_minutes(10))) == [600] * 4
    assert delays(RetryPresets.fixed(max_attempts=3)) == [5, 5]


@pytest.mark.parametrize(
    ("strategy", "attempts", "longest"),
    [
        (RetryPresets.none(), 1, 0),
        (RetryPresets.default(), 6, 60),
        (RetryPresets.transient(), 3, 10),
        (RetryPresets.resource_availability(), 5, 40),
        (create_retry_strategy(), 3, 10),
        (create_linear_retry_strategy(), 6, 5),
    ],
)
def test_a_preset_gives_up_after_its_attempts(
    strategy: RetryStrategy, attempts: int, longest: int
) -> None:
    found = delays(strategy)
    assert len(found) == attempts - 1
    assert all(1 <= delay <= longest for delay in found)


def test_a_single_attempt_is_never_retried() -> None:
    assert RetryPresets.none()(FAILURE, 1) == RetryDecision.no_retry()


@settings(deadline=None)  # machines are busy
@given(
    attempt=st.integers(1, 5_000),
    rate=st.floats(1, 10),
    jitter=st.sampled_from(JitterStrategy),
    initial=st.integers(0, 1_000),
    limit=st.integers(0, 100_000),
)
def test_a_delay_is_at_least_a_second_and_at_most_the_limit(
    attempt: int, rate: float, jitter: JitterStrategy, initial: int, limit: int
) -> None:
    config = RetryStrategyConfig(
        max_attempts=10_000,
        initial_delay=Duration(initial),
        max_delay=Duration(limit),
        backoff_rate=rate,
        jitter_strategy=jitter,
    )
    delay = create_retry_strategy(config)(FAILURE, attempt).delay_seconds
    assert 1 <= delay <= max(1, limit)


@settings(deadline=None)  # machines are busy
@given(st.floats(0, 1e6), st.floats(0, 1))
def test_jitter_stays_within_its_share(delay: float, chance: float) -> None:
    assert JitterStrategy.NONE.jittered(delay, chance) == delay
    assert 0 <= JitterStrategy.FULL.jittered(delay, chance) <= delay
    assert delay / 2 <= JitterStrategy.HALF.jittered(delay, chance) <= delay


@pytest.mark.parametrize(
    ("messages", "types", "retried"),
    [
        (None, None, True),
        (["reset by"], None, True),
        ([re.compile(r"^connection .* peer$")], None, True),
        (["refused"], None, False),
        (None, [OSError], True),
        (None, [KeyError], False),
        (["refused"], [OSError], True),
        (["reset"], [KeyError], True),
        ([], None, False),
        ([], [], False),
    ],
)
def test_filters_say_what_is_retried(
    messages: list[str | re.Pattern[str]] | None,
    types: list[type[Exception]] | None,
    retried: bool,
) -> None:
    exponential = create_retry_strategy(
        RetryStrategyConfig(retryable_errors=messages, retryable_error_types=types)
    )
    linear = create_linear_retry_strategy(
        LinearRetryStrategyConfig(retryable_errors=messages, retryable_error_types=types)
    )
    assert exponential(FAILURE, 1).should_retry is retried
    assert linear(FAILURE, 1).should_retry is retried
