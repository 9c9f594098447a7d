"""Wait strategies: how often a condition is checked, and until when.

A strategy is any callable `(state, attempt) -> WaitForConditionDecision`, where `attempt` counts
the checks made so far, from 1. Names, defaults and growth follow the AWS Lambda durable execution
SDK for Python 3.0 (waits).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from perdure.exceptions import WaitForConditionError
from perdure.primitives.duration import Duration, duration_of
from perdure.primitives.jitter import JitterStrategy, exponential_delay_s

if TYPE_CHECKING:
    from perdure.serdes.serializers import SerDes

__all__ = [
    "JitterStrategy",
    "WaitForConditionConfig",
    "WaitForConditionDecision",
    "WaitStrategyConfig",
    "create_wait_strategy",
]

T = TypeVar("T")


@dataclass(frozen=True)
class WaitForConditionDecision:
    """Decision whether to check again, and after which delay."""

    should_continue: bool
    delay: Duration

    @property
    def delay_seconds(self) -> int:
        """The delay in seconds."""
        return self.delay.to_seconds()

    @classmethod
    def continue_waiting(cls, delay: Duration) -> Self:
        """Return the decision to check again after `delay`; zero counts as one second."""
        return cls(should_continue=True, delay=duration_of(delay, "The delay of a check"))

    @classmethod
    def stop_polling(cls) -> Self:
        """Return the decision that the condition is met: the last state is the result."""
        return cls(should_continue=False, delay=Duration())


@dataclass(frozen=True)
class WaitForConditionConfig(Generic[T]):
    """Configuration of `wait_for_condition`: its first state, and when to stop.

    `serdes` writes the state between two checks, by default `ExtendedTypeSerDes`.
    """

    wait_strategy: Callable[[T, int], WaitForConditionDecision]
    initial_state: T
    serdes: "SerDes[Any] | None" = None


@dataclass
class WaitStrategyConfig(Generic[T]):
    """Exponential growth: `initial_delay × backoff_rate^(attempt − 1)`, at most `max_delay`.

    Goes on while `should_continue_polling(state)`, for at most `max_attempts` checks.
    """

    should_continue_polling: Callable[[T], bool]
    max_attempts: int = 60
    initial_delay: Duration = field(default_factory=lambda: Duration.from_seconds(5))
    max_delay: Duration = field(default_factory=lambda: Duration.from_minutes(5))
    backoff_rate: float = 1.5
    jitter_strategy: JitterStrategy = JitterStrategy.FULL

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


def create_wait_strategy(
    config: WaitStrategyConfig[T],
) -> Callable[[T, int], WaitForConditionDecision]:
    """Return a strategy whose checks become less frequent.

    It raises `WaitForConditionError` when the last allowed check does not meet the condition.
    """

    def decide(state: T, attempt: int) -> WaitForConditionDecision:
        if not config.should_continue_polling(state):
            return WaitForConditionDecision.stop_polling()
        if attempt >= config.max_attempts:
            raise WaitForConditionError(f"The condition was not met in {attempt} checks.")
        base_s = exponential_delay_s(
            config.initial_delay_seconds, config.backoff_rate, attempt, config.max_delay_seconds
        )
        delay_s = config.jitter_strategy.finalize_delay(base_s)
        return WaitForConditionDecision.continue_waiting(Duration(delay_s))

    return decide
