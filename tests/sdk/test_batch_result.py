"""Batch results: their properties, and their serialized forms."""

import pytest

from perdure import BatchCompletionError, ChildContextError
from perdure.config import BatchItemStatus, CompletionConfig
from perdure.exceptions import DurableOperationError
from perdure.primitives.completion import CompletionReason
from perdure.serdes import ExtendedTypeSerDes
from perdure.serdes.batch_result import BatchItem, BatchResult, BatchSummary, summarize
from perdure_core.model import ErrorObject

SUCCEEDED, FAILED, STARTED = BatchItemStatus
TROUBLE = ErrorObject("m", "T", "d", ("s",))
MIXED = BatchResult(
    [
        BatchItem(0, SUCCEEDED, 1),
        BatchItem(1, FAILED, error=TROUBLE),
        BatchItem[int](2, STARTED),
    ],
    CompletionReason.ALL_COMPLETED,
)
WRITTEN = {
    "all": [
        {"index": 0, "status": "SUCCEEDED", "result": 1, "error": None},
        {
            "index": 1,
            "status": "FAILED",
            "result": None,
            "error": {
                "ErrorMessage": "m",
                "ErrorType": "T",
                "ErrorData": "d",
                "StackTrace": ["s"],
            },
        },
        {"index": 2, "status": "STARTED", "result": None, "error": None},
    ],
    "completionReason": "ALL_COMPLETED",
}


def of(*statuses: BatchItemStatus, reason: CompletionReason) -> BatchResult[int]:
    items = [BatchItem[int](index, status) for index, status in enumerate(statuses)]
    return BatchResult(items, reason)


def test_a_result_counts_and_sorts_its_items() -> None:
    assert [item.index for item in MIXED.succeeded()] == [0]
    assert [item.index for item in MIXED.failed()] == [1]
    assert [item.index for item in MIXED.started()] == [2]
    assert (MIXED.get_results(), MIXED.get_errors()) == ([1], [TROUBLE])
    counts = (MIXED.success_count, MIXED.failure_count, MIXED.started_count, MIXED.total_count)
    assert counts == (1, 1, 1, 3)
    assert MIXED.has_failure


@pytest.mark.parametrize("reason", CompletionReason)
@pytest.mark.parametrize("item", [SUCCEEDED, FAILED])
def test_a_predicate_has_the_last_word_on_the_status(
    reason: CompletionReason, item: BatchItemStatus
) -> None:
    statuses = {
        CompletionReason.CUSTOM_COMPLETION_SUCCEEDED: SUCCEEDED,
        CompletionReason.CUSTOM_COMPLETION_FAILED: FAILED,
    }
    assert of(item, reason=reason).status is statuses.get(reason, item)


def test_the_first_failure_is_thrown() -> None:
    with pytest.raises(ChildContextError) as caught:
        MIXED.throw_if_error()
    error = caught.value
    assert (error.message, error.error_type, error.data, error.stack_trace) == (
        "m",
        "T",
        "d",
        ["s"],
    )
    assert isinstance(error.__cause__, DurableOperationError)
    of(SUCCEEDED, reason=CompletionReason.ALL_COMPLETED).throw_if_error()


def test_a_batch_that_a_predicate_failed_is_thrown_without_a_failed_item() -> None:
    with pytest.raises(BatchCompletionError) as caught:
        of(SUCCEEDED, reason=CompletionReason.CUSTOM_COMPLETION_FAILED).throw_if_error()
    error = caught.value
    assert error.completion_reason is CompletionReason.CUSTOM_COMPLETION_FAILED
    rebuilt = DurableOperationError.from_error_fields(error.error_type, error.message, None, None)
    assert isinstance(rebuilt, BatchCompletionError)
    assert str(rebuilt) == str(error)


def test_the_written_form_is_that_of_the_aws_sdk() -> None:
    assert MIXED.to_dict() == WRITTEN
    assert BatchResult[int].from_dict(WRITTEN) == MIXED


def test_the_extended_serdes_gives_results_a_tag_of_their_own() -> None:
    serdes = ExtendedTypeSerDes()
    small = of(SUCCEEDED, reason=CompletionReason.ALL_COMPLETED)
    assert serdes.serialize(small) == (
        '{"t":"br","v":{"all":{"t":"l","v":[{"t":"m","v":{"index":{"t":"i","v":0},'
        '"status":{"t":"s","v":"SUCCEEDED"},"result":{"t":"n","v":null},'
        '"error":{"t":"n","v":null}}}]},"completionReason":{"t":"s","v":"ALL_COMPLETED"}}}'
    )
    assert serdes.deserialize(serdes.serialize([MIXED, (1,)])) == [MIXED, (1,)]


@pytest.mark.parametrize(
    ("statuses", "config", "reason"),
    [
        ([SUCCEEDED, FAILED], None, "FAILURE_TOLERANCE_EXCEEDED"),
        ([SUCCEEDED, STARTED], None, "ALL_COMPLETED"),
        (
            [SUCCEEDED, FAILED, STARTED],
            CompletionConfig(min_successful=1),
            "MIN_SUCCESSFUL_REACHED",
        ),
        ([SUCCEEDED, SUCCEEDED], CompletionConfig(min_successful=1), "ALL_COMPLETED"),
        ([FAILED], CompletionConfig(tolerated_failure_count=0), "FAILURE_TOLERANCE_EXCEEDED"),
        ([], None, "ALL_COMPLETED"),
    ],
)
def test_a_reason_that_was_not_written_is_inferred(
    statuses: list[BatchItemStatus], config: CompletionConfig | None, reason: str
) -> None:
    known = of(*statuses, reason=CompletionReason(reason))
    assert BatchResult[int].from_items(known.all, config) == known
    without = {"all": known.to_dict()["all"]}
    assert BatchResult[int].from_dict(without, config) == known


def test_a_summary_keeps_what_is_needed_to_make_the_result_again() -> None:
    text = summarize("MapResult", lambda result: f"{result.total_count} of them", MIXED)
    assert text == (
        '{"type": "MapResult", "totalCount": 3, "completionReason": "ALL_COMPLETED", '
        '"startedIndexes": [2], "startedCount": 1, "successCount": 1, "failureCount": 1, '
        '"status": "FAILED", "summary": "3 of them"}'
    )
    expected = BatchSummary(3, CompletionReason.ALL_COMPLETED, frozenset({2}))
    assert BatchSummary.read(text) == expected


def test_a_summary_lists_the_fewer_indexes() -> None:
    result = of(STARTED, SUCCEEDED, STARTED, reason=CompletionReason.MIN_SUCCESSFUL_REACHED)
    text = summarize("ParallelResult", None, result)
    assert '"completedIndexes": [1]' in text
    assert BatchSummary.read(text).started == {0, 2}
