"""Retry strategies: whether and when a failed step is retried.

A strategy is any callable `(exception, attempt) -> RetryDecision`, where `attempt` counts the
attempts made so far, from 1. The factories and presets here follow the AWS Lambda durable execution
SDK for Python 3.0 (retries): names, defaults, growth, jitter and filters.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from perdure.exceptions import ValidationError
from perdure.primitives.duration import Duration, duration_of
from perdure.primitives.jitter import JitterStrategy, exponential_delay_s
from perdure_core.limits import WAIT_MS_MAX

_DELAY_MS_DEFAULT: Final = 1_000


@dataclass
class RetryDecision:
    """Decision whether to retry, and after which delay."""

    should_retry: bool
    delay: Duration

    @property
    def delay_seconds(self) -> int:
        """The delay in seconds."""
        return self.delay.to_seconds()

    @classmethod
    def retry(cls, delay: Duration) -> Self:
        """Return the decision to retry after `delay`; zero counts as one second."""
        return cls(should_retry=True, delay=duration_of(delay, "The delay of a retry"))

    @classmethod
    def no_retry(cls) -> Self:
        """Return the decision not to retry: the operation fails."""
        return cls(should_retry=False, delay=Duration())


RetryStrategy = Callable[[Exception, int], RetryDecision]


@dataclass
class RetryStrategyConfig:
    """Exponential growth: `initial_delay × backoff_rate^(attempt − 1)`, at most `max_delay`.

    `max_attempts` counts the first one. `retryable_errors` are substrings or patterns searched in
    the exception's message, `retryable_error_types` its classes; an exception that matches either
    is retried. With neither, every exception is.
    """

    max_attempts: int = 3
    initial_delay: Duration = field(default_factory=lambda: Duration.from_seconds(5))
    max_delay: Duration = field(default_factory=lambda: Duration.from_minutes(5))
    backoff_rate: float = 2.0
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: list[str | re.Pattern[str]] | None = None
    retryable_error_types: list[type[Exception]] | None = None

    def __post_init__(self) -> None:
        self.initial_delay = duration_of(self.initial_delay, "initial_delay")
        self.max_delay = duration_of(self.max_delay, "max_delay")

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return self.initial_delay.to_seconds()

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return self.max_delay.to_seconds()


@dataclass
class LinearRetryStrategyConfig:
    """Linear growth: `initial_delay + increment × (attempt − 1)`, at most `max_delay`.

    The other fields are those of `RetryStrategyConfig`.
    """

    max_attempts: int = 6
    initial_delay: Duration = field(default_factory=lambda: Duration.from_seconds(1))
    increment: Duration = field(default_factory=lambda: Duration.from_seconds(1))
    max_delay: Duration = field(default_factory=lambda: Duration.from_minutes(5))
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: list[str | re.Pattern[str]] | None = None
    retryable_error_types: list[type[Exception]] | None = None

    def __post_init__(self) -> None:
        self.initial_delay = duration_of(self.initial_delay, "initial_delay")
        self.increment = duration_of(self.increment, "increment")
        self.max_delay = duration_of(self.max_delay, "max_delay")

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return self.initial_delay.to_seconds()

    @property
    def increment_seconds(self) -> int:
        """The increment per further attempt, in seconds."""
        return self.increment.to_seconds()

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return self.max_delay.to_seconds()


def create_retry_strategy(config: RetryStrategyConfig | None = None) -> RetryStrategy:
    """Return a strategy whose delays grow exponentially."""
    settings = config or RetryStrategyConfig()

    def decide(error: Exception, attempt: int) -> RetryDecision:
        return _decide(settings, error, attempt, _exponential_delay_s(settings, attempt))

    return decide


def create_linear_retry_strategy(config: LinearRetryStrategyConfig | None = None) -> RetryStrategy:
    """Return a strategy whose delays grow by the same amount each time."""
    settings = config or LinearRetryStrategyConfig()

    def decide(error: Exception, attempt: int) -> RetryDecision:
        grown_s = settings.initial_delay_seconds + settings.increment_seconds * (attempt - 1)
        return _decide(settings, error, attempt, min(grown_s, settings.max_delay_seconds))

    return decide


class RetryPresets:
    """Strategies for common situations."""

    @classmethod
    def none(cls) -> RetryStrategy:
        """Return a strategy without retries: one attempt."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=1))

    @classmethod
    def default(cls) -> RetryStrategy:
        """Return the default of a step: 6 attempts, 5 s doubling to 60 s, full jitter."""
        return create_retry_strategy(
            RetryStrategyConfig(max_attempts=6, max_delay=Duration.from_seconds(60))
        )

    @classmethod
    def transient(cls) -> RetryStrategy:
        """Return a strategy for short outages: 3 attempts, 5 s doubling to 5 min, half jitter."""
        return create_retry_strategy(RetryStrategyConfig(jitter_strategy=JitterStrategy.HALF))

    @classmethod
    def resource_availability(cls) -> RetryStrategy:
        """Return a strategy for unavailable resources: 5 attempts, 5 s to 5 min, full jitter."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=5))

    @classmethod
    def critical(cls) -> RetryStrategy:
        """Return a persistent strategy: 10 attempts, 1 s growing by half to 60 s, no jitter."""
        return create_retry_strategy(
            RetryStrategyConfig(
                max_attempts=10,
                initial_delay=Duration.from_seconds(1),
                max_delay=Duration.from_seconds(60),
                backoff_rate=1.5,
                jitter_strategy=JitterStrategy.NONE,
            )
        )

    @classmethod
    def linear(cls) -> RetryStrategy:
        """Return a linear strategy: 6 attempts, 1 s, 2 s, 3 s … to 5 min, no jitter."""
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(jitter_strategy=JitterStrategy.NONE)
        )

    @classmethod
    def fixed(cls, interval: Duration | None = None, *, max_attempts: int = 5) -> RetryStrategy:
        """Return a strategy with a fixed delay, by default 5 s, without jitter.

        `max_attempts` counts the first one. Raises `ValidationError` below 1.
        """
        if max_attempts < 1:
            raise ValidationError(f"max_attempts must be at least 1, got {max_attempts}.")
        delay = interval or Duration.from_seconds(5)
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(
                max_attempts=max_attempts,
                initial_delay=delay,
                increment=Duration(),
                max_delay=delay,
                jitter_strategy=JitterStrategy.NONE,
            )
        )


def delay_ms(delay: Duration) -> int:
    """Return the delay before a retry, within the limits of the service.

    Zero counts as a second, so that an operation that fails at once is not retried in a tight loop.
    """
    return min(delay.to_milliseconds() or _DELAY_MS_DEFAULT, WAIT_MS_MAX)


def _decide(
    settings: RetryStrategyConfig | LinearRetryStrategyConfig,
    error: Exception,
    attempt: int,
    base_delay_s: float,
) -> RetryDecision:
    if attempt >= settings.max_attempts or not _is_retryable(settings, error):
        return RetryDecision.no_retry()
    return RetryDecision.retry(Duration(settings.jitter_strategy.finalize_delay(base_delay_s)))


def _exponential_delay_s(settings: RetryStrategyConfig, attempt: int) -> float:
    return exponential_delay_s(
        settings.initial_delay_seconds, settings.backoff_rate, attempt, settings.max_delay_seconds
    )


def _is_retryable(
    settings: RetryStrategyConfig | LinearRetryStrategyConfig, error: Exception
) -> bool:
    messages, types = settings.retryable_errors, settings.retryable_error_types
    if messages is None and types is None:
        return True
    return any(_matches(pattern, _message(error)) for pattern in messages or ()) or isinstance(
        error, tuple(types or ())
    )


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever __str__ raises
        return ""


def _matches(pattern: str | re.Pattern[str], message: str) -> bool:
    if isinstance(pattern, str):
        return pattern in message
    return pattern.search(message) is not None
