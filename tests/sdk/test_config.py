"""Settings and their limits."""

from collections.abc import Callable

import pytest

from perdure.config import CallbackConfig, Duration, StepConfig, StepSemantics
from perdure.exceptions import ValidationError


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (Duration(), 0),
        (Duration.from_seconds(2.9), 2),
        (Duration.from_minutes(1.5), 90),
        (Duration.from_hours(2), 7_200),
        (Duration.from_days(366), 31_622_400),
    ],
)
def test_a_duration_is_whole_seconds(duration: Duration, seconds: int) -> None:
    assert duration.to_seconds() == seconds


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
        lambda: Duration.from_minutes(-1),
        lambda: StepConfig(sub_type=""),
        lambda: StepConfig(sub_type="a" * 33),
        lambda: CallbackConfig(sub_type="with blank"),
        lambda: CallbackConfig(timeout=Duration(100_000_000)),
        lambda: CallbackConfig(heartbeat_timeout=Duration(100_000_000)),
    ],
)
def test_settings_outside_the_limits_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError):
        make()


def test_settings_at_the_limits_are_accepted() -> None:
    assert StepConfig(sub_type="a" * 32).sub_type == "a" * 32
    assert CallbackConfig(timeout=Duration(99_999_999)).timeout_seconds == 99_999_999
