"""Completion policies of batches: thresholds, or a predicate of the user.

Tolerance is exceeded above a limit, not at it. Without any criterion the first failure exceeds it;
with only a minimum of successes, no failure does. Names, defaults and precedence are those of
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
    """Status of one branch. STARTED: the batch was complete before it had ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STARTED = "STARTED"


class CompletionOutcome(Enum):
    """Outcome of a batch that a custom predicate completed."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class CompletionReason(Enum):
    """Reason why a batch is complete."""

    ALL_COMPLETED = "ALL_COMPLETED"
    MIN_SUCCESSFUL_REACHED = "MIN_SUCCESSFUL_REACHED"
    FAILURE_TOLERANCE_EXCEEDED = "FAILURE_TOLERANCE_EXCEEDED"
    CUSTOM_COMPLETION_SUCCEEDED = "CUSTOM_COMPLETION_SUCCEEDED"
    CUSTOM_COMPLETION_FAILED = "CUSTOM_COMPLETION_FAILED"


@dataclass(frozen=True)
class CompletionItemStatus:
    """One branch as passed to a predicate; without a status it has not started."""

    index: int
    name: str | None = None
    status: BatchItemStatus | None = None


@dataclass(frozen=True)
class CompletionStatus:
    """A batch as passed to a predicate."""

    success_count: int
    failure_count: int
    completed_count: int
    total_count: int
    items: tuple[CompletionItemStatus, ...] = ()


@dataclass(frozen=True)
class CompletionDecision:
    """Decision of a predicate, made by `complete_batch` or `continue_batch`.

    Raises `ValidationError` for a completion without an outcome, and for an outcome without one.
    """

    complete: bool
    outcome: CompletionOutcome | None = None

    def __post_init__(self) -> None:
        if self.complete is (self.outcome is None):
            raise ValidationError(
                "outcome is required when complete=True and must be None otherwise;"
                f" got complete={self.complete}, outcome={self.outcome}."
            )


def complete_batch(outcome: CompletionOutcome = CompletionOutcome.SUCCEEDED) -> CompletionDecision:
    """Return the decision that the batch is complete."""
    return CompletionDecision(complete=True, outcome=outcome)


def continue_batch() -> CompletionDecision:
    """Return the decision that the batch continues."""
    return CompletionDecision(complete=False)


Predicate = Callable[[CompletionStatus], CompletionDecision]


@dataclass(frozen=True)
class CompletionConfig:
    """Criteria by which a batch completes before all of its branches have ended.

    `min_successful` (from 1) successes are enough. More than `tolerated_failure_count` (from 0)
    failures, or more than `tolerated_failure_percentage` (0 to 100) of all branches, are too many.
    `should_complete` decides instead of these: it is called before the start and whenever a branch
    has ended; its decision must depend on its argument only, and stay complete once it is. Raises
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
            raise ValidationError(f"min_successful must be at least 1, got {minimum}.")
        if count is not None and count < 0:
            raise ValidationError(f"tolerated_failure_count must be at least 0, got {count}.")
        if percentage is not None and not 0 <= percentage <= 100:  # noqa: PLR2004 - per cent
            raise ValidationError(
                f"tolerated_failure_percentage must be 0 to 100, got {percentage}."
            )
        if self.should_complete is None:
            return
        if not callable(self.should_complete):
            raise ValidationError(
                f"should_complete must be a function, got {self.should_complete!r}."
            )
        if not (minimum is count is percentage is None):
            raise ValidationError("should_complete cannot be combined with thresholds.")

    @staticmethod
    def first_successful() -> "CompletionConfig":
        """Return a policy for which one success is enough."""
        return CompletionConfig(min_successful=1)

    @staticmethod
    def all_completed() -> "CompletionConfig":
        """Return a policy by which all branches run to their end, however many fail."""
        return CompletionConfig(tolerated_failure_percentage=100)

    @staticmethod
    def all_successful() -> "CompletionConfig":
        """Return a policy by which the first failure completes the batch."""
        return CompletionConfig(tolerated_failure_count=0, tolerated_failure_percentage=0)


@dataclass(frozen=True)
class CompletionPolicy:
    """A `CompletionConfig` for a batch of `total` branches."""

    total: int
    config: CompletionConfig

    def check(self) -> None:
        """Raise `ValidationError` for a minimum that this batch can never reach."""
        minimum = self.config.min_successful
        if minimum is not None and minimum > self.total:
            raise ValidationError(
                f"min_successful must be at most {self.total}, the number of branches,"
                f" got {minimum}."
            )

    def decide(
        self, succeeded: int, failed: int, items: Callable[[], tuple[CompletionItemStatus, ...]]
    ) -> CompletionReason | None:
        """Return why the batch is complete; None while it is not.

        `items` is called for a predicate only, since it is expensive for large batches.
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
