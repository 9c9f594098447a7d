"""When a batch is complete, and why: thresholds, or a predicate of the user's.

Tolerance is exceeded above a limit, not at it. Without any criterion the first failure is one too
many; with a minimum of successes alone, no failure is. Names, defaults and precedence are those of
the AWS Lambda durable execution SDK for Python 3.0 (config, concurrency).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from perdure.exceptions import ValidationError

__all__ = [
    "BatchItemStatus",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionPolicy",
    "CompletionReason",
    "CompletionStatus",
    "complete_batch",
    "continue_batch",
]


class BatchItemStatus(Enum):
    """How one branch stands. STARTED: the batch was complete before it had ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STARTED = "STARTED"


class CompletionOutcome(Enum):
    """What a custom predicate makes of a batch."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class CompletionReason(Enum):
    """Why a batch is complete."""

    ALL_COMPLETED = "ALL_COMPLETED"
    MIN_SUCCESSFUL_REACHED = "MIN_SUCCESSFUL_REACHED"
    FAILURE_TOLERANCE_EXCEEDED = "FAILURE_TOLERANCE_EXCEEDED"
    CUSTOM_COMPLETION_SUCCEEDED = "CUSTOM_COMPLETION_SUCCEEDED"
    CUSTOM_COMPLETION_FAILED = "CUSTOM_COMPLETION_FAILED"


@dataclass(frozen=True)
class CompletionItemStatus:
    """One branch as a predicate sees it; without a status it has not started."""

    index: int
    name: str | None = None
    status: BatchItemStatus | None = None


@dataclass(frozen=True)
class CompletionStatus:
    """A batch as a predicate sees it."""

    success_count: int
    failure_count: int
    completed_count: int
    total_count: int
    items: tuple[CompletionItemStatus, ...] = ()


@dataclass(frozen=True)
class CompletionDecision:
    """What a predicate says: `complete_batch` and `continue_batch` make one.

    Raises `ValidationError` for a completion without an outcome, and for an outcome without one.
    """

    complete: bool
    outcome: CompletionOutcome | None = None

    def __post_init__(self) -> None:
        if self.complete is (self.outcome is None):
            raise ValidationError(
                "A batch that is complete has an outcome, and one that goes on has none:"
                f" complete={self.complete}, outcome={self.outcome}."
            )


def complete_batch(outcome: CompletionOutcome = CompletionOutcome.SUCCEEDED) -> CompletionDecision:
    """Say that the batch is complete."""
    return CompletionDecision(complete=True, outcome=outcome)


def continue_batch() -> CompletionDecision:
    """Say that the batch goes on."""
    return CompletionDecision(complete=False)


Predicate = Callable[[CompletionStatus], CompletionDecision]


@dataclass(frozen=True)
class CompletionConfig:
    """When a batch is complete before all of its branches have ended.

    `min_successful` (from 1) successes are enough. More than `tolerated_failure_count` (from 0)
    failures, or more than `tolerated_failure_percentage` (0 to 100) of all branches, are too many.
    `should_complete` decides instead of these: it is asked before the start and whenever a branch
    has ended; what it answers must depend on nothing else, and not change back. Raises
    `ValidationError` outside these bounds.
    """

    min_successful: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: float | None = None
    should_complete: Predicate | None = None

    def __post_init__(self) -> None:
        minimum, count = self.min_successful, self.tolerated_failure_count
        percentage = self.tolerated_failure_percentage
        if minimum is not None and minimum < 1:
            raise ValidationError(f"min_successful is at least 1: {minimum}.")
        if count is not None and count < 0:
            raise ValidationError(f"tolerated_failure_count cannot be negative: {count}.")
        if percentage is not None and not 0 <= percentage <= 100:  # noqa: PLR2004 - per cent
            raise ValidationError(f"tolerated_failure_percentage is 0 to 100: {percentage}.")
        if self.should_complete is None:
            return
        if not callable(self.should_complete):
            raise ValidationError(f"should_complete is a function: {self.should_complete!r}.")
        if not (minimum is count is percentage is None):
            raise ValidationError("should_complete cannot be combined with thresholds.")

    @staticmethod
    def first_successful() -> "CompletionConfig":
        """One success is enough."""
        return CompletionConfig(min_successful=1)

    @staticmethod
    def all_completed() -> "CompletionConfig":
        """All branches run to their end, however many fail."""
        return CompletionConfig(tolerated_failure_percentage=100)

    @staticmethod
    def all_successful() -> "CompletionConfig":
        """The first failure completes the batch."""
        return CompletionConfig(tolerated_failure_count=0, tolerated_failure_percentage=0)


@dataclass(frozen=True)
class CompletionPolicy:
    """A `CompletionConfig` for a batch of `total` branches."""

    total: int
    config: CompletionConfig

    def check(self) -> None:
        """Raise `ValidationError` for what this batch can never reach."""
        minimum = self.config.min_successful
        if minimum is not None and minimum > self.total:
            raise ValidationError(
                f"min_successful is {minimum}, and there are only {self.total} branches."
            )

    def decide(
        self, succeeded: int, failed: int, items: Callable[[], tuple[CompletionItemStatus, ...]]
    ) -> CompletionReason | None:
        """Return why the batch is complete; None while it is not.

        `items` is called for a predicate only: large batches do without.
        """
        if self.config.should_complete is None:
            return self.reason(succeeded, failed)
        status = CompletionStatus(succeeded, failed, succeeded + failed, self.total, items())
        return self._custom(self.config.should_complete(status), succeeded + failed)

    def reason(self, succeeded: int, failed: int) -> CompletionReason | None:
        """Return why a batch with thresholds is complete; None while it is not."""
        if self._too_many(failed):
            return CompletionReason.FAILURE_TOLERANCE_EXCEEDED
        if succeeded + failed >= self.total:
            return CompletionReason.ALL_COMPLETED
        minimum = self.config.min_successful
        if minimum is not None and succeeded >= minimum:
            return CompletionReason.MIN_SUCCESSFUL_REACHED
        return None

    def _custom(self, decision: CompletionDecision, completed: int) -> CompletionReason | None:
        if decision.complete:
            failed = decision.outcome is CompletionOutcome.FAILED
            return (
                CompletionReason.CUSTOM_COMPLETION_FAILED
                if failed
                else CompletionReason.CUSTOM_COMPLETION_SUCCEEDED
            )
        return CompletionReason.ALL_COMPLETED if completed >= self.total else None

    def _too_many(self, failed: int) -> bool:
        config = self.config
        count, percentage = config.tolerated_failure_count, config.tolerated_failure_percentage
        if count is None and percentage is None:
            return failed > 0 and config.min_successful is None
        if count is not None and failed > count:
            return True
        return percentage is not None and failed * 100 > percentage * self.total
