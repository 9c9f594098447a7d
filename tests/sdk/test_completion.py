"""Completion of batches: when, and why."""

from typing import Any

import pytest

from perdure import ValidationError
from perdure.config import (
    BatchItemStatus,
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from perdure.primitives.completion import CompletionPolicy, CompletionReason

ALL = CompletionReason.ALL_COMPLETED
ENOUGH = CompletionReason.MIN_SUCCESSFUL_REACHED
TOO_MANY = CompletionReason.FAILURE_TOLERANCE_EXCEEDED


@pytest.mark.parametrize(
    ("config", "total", "succeeded", "failed", "reason"),
    [
        (CompletionConfig(), 4, 3, 0, None),
        (CompletionConfig(), 4, 4, 0, ALL),
        (CompletionConfig(), 4, 0, 1, TOO_MANY),
        (CompletionConfig(), 0, 0, 0, ALL),
        (CompletionConfig.all_successful(), 4, 1, 1, TOO_MANY),
        (CompletionConfig.all_completed(), 4, 0, 3, None),
        (CompletionConfig.all_completed(), 4, 0, 4, ALL),
        (CompletionConfig.first_successful(), 4, 0, 3, None),
        (CompletionConfig.first_successful(), 4, 0, 4, ALL),
        (CompletionConfig.first_successful(), 4, 1, 0, ENOUGH),
        (CompletionConfig(min_successful=2), 4, 2, 2, ALL),
        (CompletionConfig(min_successful=2), 2, 2, 0, ALL),
        (CompletionConfig(min_successful=2, tolerated_failure_count=0), 4, 2, 1, TOO_MANY),
        (CompletionConfig(tolerated_failure_count=1), 4, 0, 1, None),
        (CompletionConfig(tolerated_failure_count=1), 4, 0, 2, TOO_MANY),
        (CompletionConfig(tolerated_failure_percentage=25), 4, 0, 1, None),
        (CompletionConfig(tolerated_failure_percentage=25), 4, 0, 2, TOO_MANY),
        (CompletionConfig(tolerated_failure_percentage=24.9), 4, 0, 1, TOO_MANY),
    ],
)
def test_thresholds_decide(
    config: CompletionConfig,
    total: int,
    succeeded: int,
    failed: int,
    reason: CompletionReason | None,
) -> None:
    assert CompletionPolicy(total, config).decide(succeeded, failed, tuple) is reason


@pytest.mark.parametrize(
    ("decision", "succeeded", "reason"),
    [
        (continue_batch(), 1, None),
        (continue_batch(), 2, ALL),
        (complete_batch(), 1, CompletionReason.CUSTOM_COMPLETION_SUCCEEDED),
        (complete_batch(), 2, CompletionReason.CUSTOM_COMPLETION_SUCCEEDED),
        (
            complete_batch(CompletionOutcome.FAILED),
            1,
            CompletionReason.CUSTOM_COMPLETION_FAILED,
        ),
    ],
)
def test_a_predicate_decides_instead_of_thresholds(
    decision: CompletionDecision, succeeded: int, reason: CompletionReason | None
) -> None:
    seen: list[CompletionStatus] = []

    def predicate(status: CompletionStatus) -> CompletionDecision:
        seen.append(status)
        return decision

    items = (CompletionItemStatus(0, "a", BatchItemStatus.SUCCEEDED), CompletionItemStatus(1))
    policy = CompletionPolicy(2, CompletionConfig(should_complete=predicate))
    assert policy.decide(succeeded, 0, lambda: items) is reason
    assert seen == [CompletionStatus(succeeded, 0, succeeded, 2, items)]


def never(_status: CompletionStatus) -> CompletionDecision:
    return continue_batch()


@pytest.mark.parametrize(
    "fields",
    [
        {"min_successful": 0},
        {"tolerated_failure_count": -1},
        {"tolerated_failure_percentage": -0.1},
        {"tolerated_failure_percentage": 100.1},
        {"min_successful": 1, "should_complete": never},
        {"tolerated_failure_count": 0, "should_complete": never},
        {"should_complete": 5},
    ],
)
def test_a_config_outside_its_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CompletionConfig(**fields)


@pytest.mark.parametrize(("complete", "outcome"), [(True, None), (False, CompletionOutcome.FAILED)])
def test_a_decision_has_an_outcome_if_and_only_if_it_completes(
    complete: bool, outcome: CompletionOutcome | None
) -> None:
    with pytest.raises(ValidationError, match="complete="):
        CompletionDecision(complete, outcome)


def test_more_successes_than_branches_are_refused() -> None:
    policy = CompletionPolicy(2, CompletionConfig(min_successful=3))
    with pytest.raises(ValidationError, match="at most 2, the number of branches"):
        policy.check()
