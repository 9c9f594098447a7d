"""When a failed step is tried again, and after how long.

A strategy is any callable `(exception, attempt) -> RetryDecision`, where `attempt` counts the
attempts made so far, from 1. The factories and presets here follow the AWS Lambda durable execution
SDK for Python 3.0 (retries): names, defaults, growth, jitter and filters.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

from perdure.config import ChildConfig, Duration
from perdure.exceptions import UnrecoverableError
from perdure.jitter import JitterStrategy, exponential_delay_s
from perdure.program import Nest, Program
from perdure.retry_after import retry_after_ms
from perdure_core.limits import WAIT_MS_MAX

if TYPE_CHECKING:
    from perdure.async_context import AsyncDurableContext
    from perdure.calls import Calls
    from perdure.context import DurableContext

__all__ = [
    "JitterStrategy",
    "LinearRetryStrategyConfig",
    "RetryDecision",
    "RetryPresets",
    "RetryStrategy",
    "RetryStrategyConfig",
    "WithRetryConfig",
    "create_linear_retry_strategy",
    "create_retry_strategy",
    "with_retry",
]

T = TypeVar("T")

_DELAY_MS_DEFAULT: Final = 1_000


@dataclass
class RetryDecision:
    """Whether to try again, and after which delay."""

    should_retry: bool
    delay: Duration

    @property
    def delay_seconds(self) -> int:
        """The delay in seconds."""
        return self.delay.to_seconds()

    @classmethod
    def retry(cls, delay: Duration) -> Self:
        """Try again after `delay`, to the millisecond; no delay at all counts as one second."""
        return cls(should_retry=True, delay=delay)

    @classmethod
    def no_retry(cls) -> Self:
        """Give up: the operation fails."""
        return cls(should_retry=False, delay=Duration())


RetryStrategy = Callable[[Exception, int], RetryDecision]


@dataclass
class RetryStrategyConfig:
    """Exponential growth: `initial_delay × backoff_rate^(attempt − 1)`, at most `max_delay`.

    `max_attempts` counts the first one. `retryable_errors` are substrings or patterns searched in
    the exception's message, `retryable_error_types` its classes; an exception that fits either is
    retried. With neither, everything is.
    """

    max_attempts: int = 3
    initial_delay: Duration = field(default_factory=lambda: Duration.from_seconds(5))
    max_delay: Duration = field(default_factory=lambda: Duration.from_minutes(5))
    backoff_rate: float = 2.0
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: list[str | re.Pattern[str]] | None = None
    retryable_error_types: list[type[Exception]] | None = None

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

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return self.initial_delay.to_seconds()

    @property
    def increment_seconds(self) -> int:
        """What each further attempt adds, in seconds."""
        return self.increment.to_seconds()

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return self.max_delay.to_seconds()


def create_retry_strategy(config: RetryStrategyConfig | None = None) -> RetryStrategy:
    """Make a strategy whose delays grow exponentially."""
    settings = config or RetryStrategyConfig()

    def decide(error: Exception, attempt: int) -> RetryDecision:
        return _decide(settings, error, attempt, _exponential_delay_s(settings, attempt))

    return decide


def create_linear_retry_strategy(config: LinearRetryStrategyConfig | None = None) -> RetryStrategy:
    """Make a strategy whose delays grow by the same amount each time."""
    settings = config or LinearRetryStrategyConfig()

    def decide(error: Exception, attempt: int) -> RetryDecision:
        grown_s = settings.initial_delay_seconds + settings.increment_seconds * (attempt - 1)
        return _decide(settings, error, attempt, min(grown_s, settings.max_delay_seconds))

    return decide


class RetryPresets:
    """Strategies for common situations."""

    @classmethod
    def none(cls) -> RetryStrategy:
        """Make one attempt, no retry."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=1))

    @classmethod
    def default(cls) -> RetryStrategy:
        """Make the default of a step: 6 attempts, 5 s doubling to 60 s, full jitter."""
        return create_retry_strategy(
            RetryStrategyConfig(max_attempts=6, max_delay=Duration.from_seconds(60))
        )

    @classmethod
    def transient(cls) -> RetryStrategy:
        """Sit out a short disturbance: 3 attempts, 5 s doubling to 5 min, half jitter."""
        return create_retry_strategy(RetryStrategyConfig(jitter_strategy=JitterStrategy.HALF))

    @classmethod
    def resource_availability(cls) -> RetryStrategy:
        """Wait for what is not there yet: 5 attempts, 5 s doubling to 5 min, full jitter."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=5))

    @classmethod
    def critical(cls) -> RetryStrategy:
        """Persist with what must succeed: 10 attempts, 1 s growing by half to 60 s, no jitter."""
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
        """Slow down steadily: 6 attempts, 1 s, 2 s, 3 s … to 5 min, no jitter."""
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(jitter_strategy=JitterStrategy.NONE)
        )

    @classmethod
    def fixed(cls, interval: Duration | None = None) -> RetryStrategy:
        """Keep the same delay, 5 s unless given: 5 attempts, no jitter."""
        delay = interval or Duration.from_seconds(5)
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(
                max_attempts=5,
                initial_delay=delay,
                increment=Duration(),
                max_delay=delay,
                jitter_strategy=JitterStrategy.NONE,
            )
        )


@dataclass(frozen=True)
class WithRetryConfig(Generic[T]):
    """How `with_retry` tries again: three times by default, 5 s doubling to 5 min, full jitter.

    All tries share one child context, which `child_context_config` describes, unless
    `wrap_with_run_in_child_context` is false.
    """

    retry_strategy: RetryStrategy | None = None
    wrap_with_run_in_child_context: bool = True
    child_context_config: ChildConfig[T] | None = None


@overload
def with_retry(
    context: "DurableContext",
    func: "Callable[[DurableContext, int], T]",
    config: WithRetryConfig[T],
    name: str | None = None,
) -> T: ...
@overload
def with_retry(
    context: "AsyncDurableContext",
    func: "Callable[[AsyncDurableContext, int], Awaitable[T]]",
    config: WithRetryConfig[T],
    name: str | None = None,
) -> Coroutine[Any, Any, T]: ...
def with_retry(
    context: "DurableContext | AsyncDurableContext",
    func: Callable[[Any, int], Any],
    config: WithRetryConfig[Any],
    name: str | None = None,
) -> Any:
    """Try a block of durable operations, `func(context, attempt)`, until it does not raise.

    Between two tries comes a durable wait, named `{name}-backoff-{attempt}`. When the strategy
    gives up, raises `ChildContextError`; without a child context, what the block raised.
    """
    return context.perform_with_retry(func, config, name)


def delay_ms(delay: Duration) -> int:
    """Return the delay before another try within what the service takes.

    None at all is a second, so that what fails at once does not go round and round.
    """
    return min(delay.to_milliseconds() or _DELAY_MS_DEFAULT, WAIT_MS_MAX)


def tries(
    calls: "Calls", func: Callable[[int], Any], strategy: RetryStrategy, name: str | None
) -> Program[Any]:
    """Call `func(attempt)` until it does not raise, or the strategy gives up."""
    attempt = 1
    while True:  # until the strategy gives up
        try:
            return (yield Nest(partial(func, attempt)))
        except UnrecoverableError:
            raise
        except Exception as error:
            decision = strategy(error, attempt)
            if not decision.should_retry:
                raise
            hint_ms = retry_after_ms(error, calls.scope.turn.now_ms)
        yield from calls.wait(
            Duration.from_milliseconds(max(delay_ms(decision.delay), hint_ms)),
            f"{name}-backoff-{attempt}" if name else None,
        )
        attempt += 1


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
    return any(_fits(wanted, str(error)) for wanted in messages or ()) or isinstance(
        error, tuple(types or ())
    )


def _fits(wanted: str | re.Pattern[str], message: str) -> bool:
    if isinstance(wanted, str):
        return wanted in message
    return wanted.search(message) is not None
