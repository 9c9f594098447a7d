"""Configuration of each operation.

Names, defaults and checks follow the AWS Lambda durable execution SDK for Python 3.0 (config), so
that programs move between the two by changing imports. Limits are those of the service.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from perdure.exceptions import ValidationError
from perdure.primitives.completion import CompletionConfig
from perdure.primitives.duration import Duration, duration_of, in_words
from perdure.primitives.operation_contexts import SummaryGenerator
from perdure.serdes.serializers import SerDes
from perdure.settings.retry_strategies import RetryDecision, RetryStrategy
from perdure_core.limits import CALLBACK_TIMEOUT_S_MAX, SUB_TYPE_CHARS_MAX, WAIT_MS_MAX

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

_SUB_TYPE = re.compile(rf"[A-Za-z0-9_-]{{1,{SUB_TYPE_CHARS_MAX}}}")


class StepSemantics(Enum):
    """Effect of a crash while a step's body runs.

    At least once: the body runs again in the same attempt. At most once: the start is durable
    before the body runs; after a crash the retry strategy is called with a
    `StepInterruptedError`.
    """

    AT_LEAST_ONCE_PER_RETRY = "AT_LEAST_ONCE_PER_RETRY"
    AT_MOST_ONCE_PER_RETRY = "AT_MOST_ONCE_PER_RETRY"


@dataclass(frozen=True)
class StepConfig:
    """Configuration of a step: retries, semantics, serializer and timeouts.

    `retry_strategy` takes the exception and the number of the attempt, from 1; the default is
    `RetryPresets.default()`: six attempts. `serdes` writes the result, by default
    `ExtendedTypeSerDes`. `sub_type` is recorded instead of "Step": 1 to 32 characters of
    [A-Za-z0-9_-], else `ValidationError`.

    `timeout`, 1 ms to 366 days, else `ValidationError`, is how long one attempt may take, a crash
    of its worker included; after that it fails with `StepTimeoutError`, and the strategy decides.
    `heartbeat_timeout`, within the same bounds, is how long an attempt may go without a call of
    `step_context.heartbeat()`; after that it fails with `StepHeartbeatTimeoutError`.
    """

    retry_strategy: "Callable[[Exception, int], RetryDecision] | None" = None
    step_semantics: StepSemantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    heartbeat_timeout: Duration | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)
        for name in ("timeout", "heartbeat_timeout"):
            _check_step_timeout(name, _converted(self, name))


@dataclass(frozen=True)
class CallbackConfig:
    """Configuration of a callback: its timeouts, and how its result is read.

    `timeout` counts from the creation, `heartbeat_timeout` from the last heartbeat, both in whole
    seconds, rounded up. Zero means none; more than 99,999,999 s raises `ValidationError`. `serdes`
    reads the result; by default the text is returned as it was sent. `sub_type` is recorded instead
    of "Callback", as in `StepConfig`.
    """

    timeout: Duration = field(default_factory=Duration)
    heartbeat_timeout: Duration = field(default_factory=Duration)
    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)
        for name in ("timeout", "heartbeat_timeout"):
            _check_callback_timeout(name, _converted(self, name) or Duration())

    @property
    def timeout_seconds(self) -> int:
        """The timeout in seconds, rounded up; 0 means none."""
        return self.timeout.to_seconds_up()

    @property
    def heartbeat_timeout_seconds(self) -> int:
        """The heartbeat timeout in seconds, rounded up; 0 means none."""
        return self.heartbeat_timeout.to_seconds_up()


@dataclass(frozen=True)
class WaitForCallbackConfig(CallbackConfig):
    """Configuration of `wait_for_callback`; the submitter is retried as the body of a step is."""

    retry_strategy: "Callable[[Exception, int], RetryDecision] | None" = None


@dataclass(frozen=True)
class ChildConfig(Generic[T]):
    """Configuration of a child context.

    `serdes` writes the result, by default `ExtendedTypeSerDes`. `sub_type` is recorded instead of
    "RunInChildContext", as in `StepConfig`. `summary_generator` describes a result of more than
    64 MiB, which is not recorded but rebuilt by re-running the body over its recorded children.
    An `is_virtual` context records nothing itself: it only groups, and its body runs on replay.
    """

    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = None
    summary_generator: "SummaryGenerator[T] | None" = None
    is_virtual: bool = False

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)


@dataclass(frozen=True)
class InvokeConfig(Generic[P, R]):
    """Configuration of an invoke: serializers (plain JSON by default) and tenant."""

    serdes_payload: "SerDes[P] | None" = None
    serdes_result: "SerDes[R] | None" = None
    tenant_id: str | None = None


class NestingType(Enum):
    """Representation of a batch's branches in the record.

    NESTED: a context each. FLAT: virtual contexts, so that their operations belong directly to the
    batch: fewer operations, and no branches in the history.
    """

    NESTED = "NESTED"
    FLAT = "FLAT"


@dataclass(frozen=True)
class ParallelConfig:
    """Configuration of `parallel`: concurrency, completion and serializers.

    At most `max_concurrency` branches run at a time, suspended ones included; all, if None. The
    default policy stops at the first failure. `serdes` writes the `BatchResult`, `item_serdes` what
    one branch returns; without it, `serdes` does both. `summary_generator` describes a result that
    is too large to record. Raises `ValidationError` for a `max_concurrency` below 1.
    """

    max_concurrency: int | None = None
    completion_config: CompletionConfig = field(default_factory=CompletionConfig.all_successful)
    serdes: "SerDes[Any] | None" = None
    item_serdes: "SerDes[Any] | None" = None
    summary_generator: "SummaryGenerator[Any] | None" = None
    nesting_type: NestingType = NestingType.NESTED

    def __post_init__(self) -> None:
        _check_concurrency(self.max_concurrency)


@dataclass(frozen=True)
class MapConfig(Generic[T]):
    """Configuration of `map`, whose items run as the branches of `ParallelConfig` do.

    The default policy stops at the first failure, too. `item_namer(item, index)` names each item;
    it is called for all of them before the first one starts, on every replay.
    """

    max_concurrency: int | None = None
    completion_config: CompletionConfig = field(default_factory=CompletionConfig)
    serdes: "SerDes[Any] | None" = None
    item_serdes: "SerDes[Any] | None" = None
    summary_generator: "SummaryGenerator[Any] | None" = None
    nesting_type: NestingType = NestingType.NESTED
    item_namer: Callable[[T, int], str] | None = None

    def __post_init__(self) -> None:
        _check_concurrency(self.max_concurrency)


@dataclass(frozen=True)
class BranchesConfig:
    """Configuration of `race`, `any_of` and `all_of`.

    At most `max_concurrency` branches run at a time, in their order; all, if None. `serdes` writes
    the value of the operation, `item_serdes` what one branch returns; without it, `serdes` does
    both. Raises `ValidationError` for a `max_concurrency` below 1.
    """

    max_concurrency: int | None = None
    serdes: "SerDes[Any] | None" = None
    item_serdes: "SerDes[Any] | None" = None

    def __post_init__(self) -> None:
        _check_concurrency(self.max_concurrency)


@dataclass(frozen=True)
class WithRetryConfig(Generic[T]):
    """Configuration of `with_retry`: by default three attempts, 5 s doubling to 5 min, full jitter.

    All attempts share one child context, configured by `child_context_config`, unless
    `wrap_with_run_in_child_context` is false.
    """

    retry_strategy: RetryStrategy | None = None
    wrap_with_run_in_child_context: bool = True
    child_context_config: ChildConfig[T] | None = None


def _check_concurrency(max_concurrency: int | None) -> None:
    if max_concurrency is not None and max_concurrency < 1:
        raise ValidationError(f"max_concurrency must be at least 1, got {max_concurrency}.")


def _check_sub_type(sub_type: str | None) -> None:
    if sub_type and not _SUB_TYPE.fullmatch(sub_type):
        raise ValidationError(
            f"sub_type must be 1 to {SUB_TYPE_CHARS_MAX} characters of [A-Za-z0-9_-],"
            f" got {sub_type!r}."
        )


def _converted(config: "StepConfig | CallbackConfig", field_name: str) -> Duration | None:
    """Return a duration of a configuration; one that is given as a timedelta is replaced in it."""
    value: object = getattr(config, field_name)
    if value is None or isinstance(value, Duration):
        return value
    duration = duration_of(value, field_name)
    object.__setattr__(config, field_name, duration)
    return duration


def _check_step_timeout(field_name: str, timeout: Duration | None) -> None:
    if timeout is not None and not 1 <= timeout.to_milliseconds() <= WAIT_MS_MAX:
        raise ValidationError(
            f"{field_name} of a step must be 1 ms to {in_words(WAIT_MS_MAX)},"
            f" got {in_words(timeout.to_milliseconds())}. Omit it for no timeout."
        )


def _check_callback_timeout(field_name: str, timeout: Duration) -> None:
    if timeout.to_seconds_up() > CALLBACK_TIMEOUT_S_MAX:
        raise ValidationError(
            f"{field_name} of a callback must be at most {CALLBACK_TIMEOUT_S_MAX:,} s,"
            f" got {timeout.to_milliseconds() / 1_000:,} s."
        )
