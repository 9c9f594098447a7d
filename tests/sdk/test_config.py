"""Settings and their limits."""

import math
from collections.abc import Callable

import pytest

from perdure.config import CallbackConfig, Duration, StepConfig, StepSemantics
from perdure.exceptions import ValidationError


@pytest.mark.parametrize(
    ("duration", "seconds", "milliseconds"),
    [
        (Duration(), 0, 0),
        (Duration(1, 2_500), 3, 500),
        (Duration.from_milliseconds(999), 0, 999),
        (Duration.from_seconds(2.9), 2, 900),
        (Duration.from_seconds(1.001), 1, 1),  # 1.001 * 1_000 is a little less than 1,001
        (Duration.from_seconds(1.9999), 1, 999),
        (Duration.from_seconds(0.0009), 0, 0),
        (Duration.from_minutes(1 / 3), 20, 0),
        (Duration.from_minutes(1.5), 90, 0),
        (Duration.from_hours(2), 7_200, 0),
        (Duration.from_days(366), 31_622_400, 0),
    ],
)
def test_a_duration_is_seconds_and_milliseconds(
    duration: Duration, seconds: int, milliseconds: int
) -> None:
    assert (duration.seconds, duration.milliseconds) == (seconds, milliseconds)
    assert duration.to_seconds() == seconds
    assert duration.to_milliseconds() == seconds * 1_000 + milliseconds
    assert duration == Duration.from_milliseconds(duration.to_milliseconds())


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 0), (1, 1), (1_000, 1), (1_001, 2)])
def test_a_timeout_is_rounded_up_to_whole_seconds(milliseconds: int, seconds: int) -> None:
    timeout = Duration.from_milliseconds(milliseconds)
    config = CallbackConfig(timeout=timeout, heartbeat_timeout=timeout)
    assert (config.timeout_seconds, config.heartbeat_timeout_seconds) == (seconds, seconds)


def test_a_duration_shows_milliseconds_where_there_are_some() -> None:
    assert repr(Duration(5)) == "Duration(seconds=5)"
    assert repr(Duration(5, 20)) == "Duration(seconds=5, milliseconds=20)"


def test_defaults_are_those_of_the_programming_model() -> None:
    assert StepConfig() == StepConfig(
        retry_strategy=None,
        step_semantics=StepSemantics.AT_LEAST_ONCE_PER_RETRY,
        serdes=None,
        sub_type=None,
    )
    assert CallbackConfig() == CallbackConfig(Duration(0), Duration(0), None, sub_type=None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Duration(-1),
        lambda: Duration(1.5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: Duration(milliseconds=-1),
        lambda: Duration(1, -1),
        lambda: Duration.from_milliseconds(1.5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: Duration.from_minutes(-1),
        lambda: Duration.from_seconds(math.inf),
        lambda: Duration.from_seconds(math.nan),
        lambda: StepConfig(sub_type="a" * 33),
        lambda: CallbackConfig(sub_type="with blank"),
        lambda: CallbackConfig(timeout=Duration(100_000_000)),
        lambda: CallbackConfig(heartbeat_timeout=Duration(100_000_000)),
        lambda: CallbackConfig(timeout=Duration(99_999_999, 1)),
    ],
)
def test_settings_outside_the_limits_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError):
        make()


def test_settings_at_the_limits_are_accepted() -> None:
    assert StepConfig(sub_type="a" * 32).sub_type == "a" * 32
    assert CallbackConfig(timeout=Duration(99_999_999)).timeout_seconds == 99_999_999
