"""Lengths of time. Names follow the AWS Lambda durable execution SDK for Python 3.0 (config)."""

import math
from dataclasses import dataclass
from typing import Final, Self

from perdure.exceptions import ValidationError

_MS_PER_S: Final = 1_000


@dataclass(frozen=True)
class Duration:
    """A length of time, to the millisecond; the factories truncate to milliseconds.

    Normalised so that `milliseconds` is below 1,000. Raises `ValidationError` when a part is
    negative or not a whole number.
    """

    seconds: int = 0
    milliseconds: int = 0

    def __post_init__(self) -> None:
        for part in (self.seconds, self.milliseconds):
            if not isinstance(part, int):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise ValidationError(
                    f"Duration must be whole seconds and milliseconds, got {part!r}. Use"
                    " Duration.from_seconds for fractions."
                )
            if part < 0:
                raise ValidationError(f"Duration must not be negative, got {part}.")
        more_s, milliseconds = divmod(self.milliseconds, _MS_PER_S)
        object.__setattr__(self, "seconds", self.seconds + more_s)
        object.__setattr__(self, "milliseconds", milliseconds)

    def __repr__(self) -> str:
        """Return the text without zero milliseconds, as the published SDK does."""
        more = f", milliseconds={self.milliseconds}" if self.milliseconds else ""
        return f"{type(self).__name__}(seconds={self.seconds}{more})"

    @classmethod
    def from_milliseconds(cls, value: int) -> Self:
        """Return a duration of `value` milliseconds."""
        return cls(milliseconds=value)

    @classmethod
    def from_seconds(cls, value: float) -> Self:
        """Return a duration of `value` seconds."""
        return cls(milliseconds=_whole_ms(value, _MS_PER_S))

    @classmethod
    def from_minutes(cls, value: float) -> Self:
        """Return a duration of `value` minutes."""
        return cls(milliseconds=_whole_ms(value, 60 * _MS_PER_S))

    @classmethod
    def from_hours(cls, value: float) -> Self:
        """Return a duration of `value` hours."""
        return cls(milliseconds=_whole_ms(value, 3_600 * _MS_PER_S))

    @classmethod
    def from_days(cls, value: float) -> Self:
        """Return a duration of `value` days of 24 hours."""
        return cls(milliseconds=_whole_ms(value, 86_400 * _MS_PER_S))

    def to_seconds(self) -> int:
        """Return the length in whole seconds, rounded down."""
        return self.seconds

    def to_seconds_up(self) -> int:
        """Return the length in whole seconds, rounded up, so that no timer fires early."""
        return self.seconds + (self.milliseconds > 0)

    def to_milliseconds(self) -> int:
        """Return the whole length in milliseconds."""
        return self.seconds * _MS_PER_S + self.milliseconds


def _whole_ms(value: float, unit_ms: int) -> int:
    """Return `value` units in whole milliseconds; rounding noise of the product loses none."""
    if not math.isfinite(value):
        raise ValidationError(f"Duration must be a finite number, got {value!r}.")
    return int(round(value * unit_ms, 6))
