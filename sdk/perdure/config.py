"""How operations are configured: durations, step and callback settings.

Names, defaults and checks follow the AWS Lambda durable execution SDK for Python 3.0 (config), so
that programs move between the two by changing imports. Limits are those of the service.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from perdure.exceptions import ValidationError
from perdure.jitter import JitterStrategy
from perdure_core.limits import CALLBACK_TIMEOUT_S_MAX, SUB_TYPE_CHARS_MAX

if TYPE_CHECKING:
    from perdure.retries import RetryDecision
    from perdure.serdes import SerDes

__all__ = ["CallbackConfig", "Duration", "JitterStrategy", "StepConfig", "StepSemantics"]

_SUB_TYPE = re.compile(rf"[A-Za-z0-9_-]{{1,{SUB_TYPE_CHARS_MAX}}}")


@dataclass(frozen=True)
class Duration:
    """A length of time in whole seconds; the factories cut fractions off.

    Raises `ValidationError` when it is negative, or no whole number.
    """

    seconds: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ValidationError(
                f"A duration is whole seconds: {self.seconds!r}. Duration.from_seconds cuts off."
            )
        if self.seconds < 0:
            raise ValidationError(f"A duration cannot be negative: {self.seconds} s.")

    @classmethod
    def from_seconds(cls, value: float) -> Self:
        """Make a duration of `value` seconds."""
        return cls(int(value))

    @classmethod
    def from_minutes(cls, value: float) -> Self:
        """Make a duration of `value` minutes."""
        return cls(int(value * 60))

    @classmethod
    def from_hours(cls, value: float) -> Self:
        """Make a duration of `value` hours."""
        return cls(int(value * 3_600))

    @classmethod
    def from_days(cls, value: float) -> Self:
        """Make a duration of `value` days of 24 hours."""
        return cls(int(value * 86_400))

    def to_seconds(self) -> int:
        """Return the length in seconds."""
        return self.seconds


class StepSemantics(Enum):
    """What a crash in the middle of a step's body means.

    At least once: the body runs again, and the attempt is not spent. At most once: the start is
    durable before the body runs; after a crash the retry strategy is asked, with a
    `StepInterruptedError`.
    """

    AT_LEAST_ONCE_PER_RETRY = "AT_LEAST_ONCE_PER_RETRY"
    AT_MOST_ONCE_PER_RETRY = "AT_MOST_ONCE_PER_RETRY"


@dataclass(frozen=True)
class StepConfig:
    """How a step is retried, guarded and written.

    `retry_strategy` takes the exception and the number of the attempt, from 1; the default is
    `RetryPresets.default()`: six attempts. `serdes` writes the result, by default
    `ExtendedTypeSerDes`. `sub_type` is shown instead of "Step": 1 to 32 characters of
    [A-Za-z0-9_-], else `ValidationError`.
    """

    retry_strategy: "Callable[[Exception, int], RetryDecision] | None" = None
    step_semantics: StepSemantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)


@dataclass(frozen=True)
class CallbackConfig:
    """How long a callback may take, and how its result is read.

    `timeout` counts from the creation; `heartbeat_timeout` from the last sign of life; zero means
    none, 99,999,999 s is the most, else `ValidationError`. `serdes` reads the result; by default
    the text is returned as it was sent. `sub_type` is shown instead of "Callback", as in
    `StepConfig`.
    """

    timeout: Duration = field(default_factory=Duration)
    heartbeat_timeout: Duration = field(default_factory=Duration)
    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)
        _check_callback_timeout("timeout", self.timeout)
        _check_callback_timeout("heartbeat_timeout", self.heartbeat_timeout)

    @property
    def timeout_seconds(self) -> int:
        """The timeout in seconds; 0 means none."""
        return self.timeout.to_seconds()

    @property
    def heartbeat_timeout_seconds(self) -> int:
        """The heartbeat timeout in seconds; 0 means none."""
        return self.heartbeat_timeout.to_seconds()


def _check_sub_type(sub_type: str | None) -> None:
    if sub_type is not None and not _SUB_TYPE.fullmatch(sub_type):
        raise ValidationError(
            f"sub_type must be 1 to {SUB_TYPE_CHARS_MAX} characters of [A-Za-z0-9_-]: {sub_type!r}"
        )


def _check_callback_timeout(field_name: str, timeout: Duration) -> None:
    if timeout.seconds > CALLBACK_TIMEOUT_S_MAX:
        raise ValidationError(
            f"A callback's {field_name} is at most {CALLBACK_TIMEOUT_S_MAX:,} s: "
            f"{timeout.seconds:,} s asked for."
        )
