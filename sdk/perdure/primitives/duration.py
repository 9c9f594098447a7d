"""Lengths of time. Names follow the AWS Lambda durable execution SDK for Python 3.0 (config)."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from perdure.exceptions import ValidationError

_MS_PER_S: Final = 1_000
_UNITS_MS: Final = {
    "days": 86_400 * _MS_PER_S,
    "hours": 3_600 * _MS_PER_S,
    "minutes": 60 * _MS_PER_S,
    "seconds": _MS_PER_S,
}


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
        for part, unit in ((self.seconds, "seconds"), (self.milliseconds, "milliseconds")):
            if part < 0:
                raise ValidationError(f"Duration must not be negative, got {part} {unit}.")
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
        return cls(milliseconds=_whole_ms(value, "seconds"))

    @classmethod
    def from_minutes(cls, value: float) -> Self:
        """Return a duration of `value` minutes."""
        return cls(milliseconds=_whole_ms(value, "minutes"))

    @classmethod
    def from_hours(cls, value: float) -> Self:
        """Return a duration of `value` hours."""
        return cls(milliseconds=_whole_ms(value, "hours"))

    @classmethod
    def from_days(cls, value: float) -> Self:
        """Return a duration of `value` days of 24 hours."""
        return cls(milliseconds=_whole_ms(value, "days"))

    def to_seconds(self) -> int:
        """Return the length in whole seconds, rounded down."""
        return self.seconds

    def to_seconds_up(self) -> int:
        """Return the length in whole seconds, rounded up, so that no timer fires early."""
        return self.seconds + (self.milliseconds > 0)

    def to_milliseconds(self) -> int:
        """Return the whole length in milliseconds."""
        return self.seconds * _MS_PER_S + self.milliseconds


def duration_of(value: object, what: str) -> Duration:
    """Return a `Duration` or a `timedelta` as a duration; `what` names it in messages.

    A timedelta is truncated to milliseconds. Raises `ValidationError` for a negative one, and for
    anything else: a number does not say its unit.
    """
    if isinstance(value, Duration):
        return value
    if isinstance(value, timedelta):
        if value < timedelta():
            length = in_words(-value // timedelta(milliseconds=1))
            raise ValidationError(f"{what} must not be negative, got -{length}.")
        return Duration(milliseconds=value // timedelta(milliseconds=1))
    advice = "Write Duration.from_seconds(…), or a timedelta."
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        advice = (
            f"A number has no unit: write Duration.from_seconds({value!r}), or"
            f" timedelta(seconds={value!r})."
        )
    raise ValidationError(f"{what} must be a Duration or a timedelta, got {value!r}. {advice}")


def in_words(length_ms: int) -> str:
    """Return a length of time in the largest unit in which a decimal place says it exactly."""
    for unit, unit_ms in _UNITS_MS.items():
        if length_ms >= unit_ms and not length_ms * 10 % unit_ms:
            text = f"{length_ms / unit_ms:,.1f}".removesuffix(".0")
            return f"{text} {unit.removesuffix('s')}" if text == "1" else f"{text} {unit}"
    return f"{length_ms:,} ms"


def _whole_ms(value: float, unit: str) -> int:
    """Return `value` units in whole milliseconds; rounding noise of the product loses none."""
    unit_ms = _UNITS_MS[unit]
    if not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ValidationError(f"Duration must be a number of {unit}, got {value!r}.")
    if not math.isfinite(value):
        raise ValidationError(f"Duration must be a finite number, got {value!r}.")
    if value < 0:
        raise ValidationError(f"Duration must not be negative, got {value!r} {unit}.")
    return int(round(value * unit_ms, 6))
