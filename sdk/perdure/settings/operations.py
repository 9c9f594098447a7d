"""How operations are configured: the settings of each operation.

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
from perdure.primitives.duration import Duration
from perdure.primitives.operation_contexts import SummaryGenerator
from perdure.serdes.serializers import SerDes
from perdure.settings.retry_strategies import RetryDecision, RetryStrategy
from perdure_core.limits import CALLBACK_TIMEOUT_S_MAX, SUB_TYPE_CHARS_MAX, WAIT_MS_MAX

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

_SUB_TYPE = re.compile(rf"[A-Za-z0-9_-]{{1,{SUB_TYPE_CHARS_MAX}}}")


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

    `timeout`, 1 ms to 366 days, else `ValidationError`, is how long one attempt may take, a crash
    of its worker included; then it has failed with `StepTimeoutError`, and the strategy decides.
    `heartbeat_timeout`, within the same bounds, is how long an attempt may go without a call of
    `step_context.heartbeat()`; then it has failed with `StepHeartbeatTimeoutError`.
    """

    retry_strategy: "Callable[[Exception, int], RetryDecision] | None" = None
    step_semantics: StepSemantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    heartbeat_timeout: Duration | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)
        _check_step_timeout("timeout", self.timeout)
        _check_step_timeout("heartbeat_timeout", self.heartbeat_timeout)


@dataclass(frozen=True)
class CallbackConfig:
    """How long a callback may take, and how its result is read.

    `timeout` counts from the creation; `heartbeat_timeout` from the last sign of life, both in
    whole seconds: a fraction of one counts as one. Zero means none, 99,999,999 s is the most, else
    `ValidationError`. `serdes` reads the result; by default the text is returned as it was sent.
    `sub_type` is shown instead of "Callback", as in `StepConfig`.
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
        """The timeout in seconds, rounded up; 0 means none."""
        return self.timeout.to_seconds_up()

    @property
    def heartbeat_timeout_seconds(self) -> int:
        """The heartbeat timeout in seconds, rounded up; 0 means none."""
        return self.heartbeat_timeout.to_seconds_up()


@dataclass(frozen=True)
class WaitForCallbackConfig(CallbackConfig):
    """How `wait_for_callback` waits, and how its submitter is retried: as a step's body is."""

    retry_strategy: "Callable[[Exception, int], RetryDecision] | None" = None


@dataclass(frozen=True)
class ChildConfig(Generic[T]):
    """How a child context is written.

    `serdes` writes the result, by default `ExtendedTypeSerDes`. `sub_type` is shown instead of
    "RunInChildContext", as in `StepConfig`. `summary_generator` describes a result of more than
    64 MiB, which is not kept but made again by running the body over its recorded children.
    An `is_virtual` context records nothing itself: it groups, and its body runs in every replay.
    """

    serdes: "SerDes[Any] | None" = None
    sub_type: str | None = None
    summary_generator: "SummaryGenerator[T] | None" = None
    is_virtual: bool = False

    def __post_init__(self) -> None:
        _check_sub_type(self.sub_type)


@dataclass(frozen=True)
class InvokeConfig(Generic[P, R]):
    """How the payload and the result of an invoked function are written: plain JSON by default."""

    serdes_payload: "SerDes[P] | None" = None
    serdes_result: "SerDes[R] | None" = None
    tenant_id: str | None = None


class NestingType(Enum):
    """What the branches of a batch are in the record.

    NESTED: a context each. FLAT: virtual contexts, so that their operations lie directly in the
    batch: fewer operations, and no branch of its own in the history.
    """

    NESTED = "NESTED"
    FLAT = "FLAT"


@dataclass(frozen=True)
class ParallelConfig:
    """How the branches of `parallel` run, end and are written.

    At most `max_concurrency` at a time, a suspended branch included; all, if None. The default
    policy stops at the first failure. `serdes` writes the `BatchResult`, `item_serdes` what one
    branch returns; without it, `serdes` does both. `summary_generator` describes a result that is
    too large to be kept. Raises `ValidationError` for a `max_concurrency` below 1.
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
    """How the items of `map` run, end and are written: as the branches of `ParallelConfig` are.

    The default policy stops at the first failure, too. `item_namer(item, index)` names each item;
    it is asked for all of them before the first one starts, on every replay.
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
    """How the branches of `race`, `any_of` and `all_of` run and are written.

    At most `max_concurrency` at a time, in their order; all, if None. `serdes` writes the value of
    the whole, `item_serdes` what one branch returns; without it, `serdes` does both. Raises
    `ValidationError` for a `max_concurrency` below 1.
    """

    max_concurrency: int | None = None
    serdes: "SerDes[Any] | None" = None
    item_serdes: "SerDes[Any] | None" = None

    def __post_init__(self) -> None:
        _check_concurrency(self.max_concurrency)


@dataclass(frozen=True)
class WithRetryConfig(Generic[T]):
    """How `with_retry` tries again: three times by default, 5 s doubling to 5 min, full jitter.

    All tries share one child context, which `child_context_config` describes, unless
    `wrap_with_run_in_child_context` is false.
    """

    retry_strategy: RetryStrategy | None = None
    wrap_with_run_in_child_context: bool = True
    child_context_config: ChildConfig[T] | None = None


def _check_concurrency(max_concurrency: int | None) -> None:
    if max_concurrency is not None and max_concurrency < 1:
        raise ValidationError(f"max_concurrency is at least 1: {max_concurrency} asked for.")


def _check_sub_type(sub_type: str | None) -> None:
    if sub_type and not _SUB_TYPE.fullmatch(sub_type):
        raise ValidationError(
            f"sub_type must be 1 to {SUB_TYPE_CHARS_MAX} characters of [A-Za-z0-9_-]: {sub_type!r}"
        )


def _check_step_timeout(field_name: str, timeout: Duration | None) -> None:
    if timeout is not None and not 1 <= timeout.to_milliseconds() <= WAIT_MS_MAX:
        raise ValidationError(
            f"A step's {field_name} is 1 to {WAIT_MS_MAX:,} ms: "
            f"{timeout.to_milliseconds():,} ms asked for. Leave it out for none."
        )


def _check_callback_timeout(field_name: str, timeout: Duration) -> None:
    if timeout.to_seconds_up() > CALLBACK_TIMEOUT_S_MAX:
        raise ValidationError(
            f"A callback's {field_name} is at most {CALLBACK_TIMEOUT_S_MAX:,} s: "
            f"{timeout.to_milliseconds() / 1_000:,} s asked for."
        )
