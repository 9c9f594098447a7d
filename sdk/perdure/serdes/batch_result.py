"""Results of map and parallel, and their written forms.

The written forms are those of the AWS Lambda durable execution SDK for Python 3.0: the dict of
`to_dict`, and the summary that replaces a result too large to record.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar, cast

from perdure.exceptions import (
    ChildContextError,
    DurableOperationError,
    register_operation_error,
)
from perdure.primitives.completion import (
    BatchItemStatus,
    CompletionConfig,
    CompletionItemStatus,
    CompletionPolicy,
    CompletionReason,
)
from perdure.serdes.error_records import operation_error
from perdure_core.model import ErrorObject

__all__ = ["BatchCompletionError", "BatchItem", "BatchResult", "CompletionReason"]

R = TypeVar("R")

_COMPLETED_AS_FAILED: Final = "The predicate of the batch completed it as failed."


class BatchCompletionError(DurableOperationError):
    """A custom predicate completed a batch as failed, although no branch has failed."""

    __recorded_name__ = "perdure.batch_result.BatchCompletionError"

    def __init__(
        self,
        completion_reason: CompletionReason = CompletionReason.CUSTOM_COMPLETION_FAILED,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: Sequence[str] | None = None,
    ) -> None:
        super().__init__(message or _COMPLETED_AS_FAILED, error_type, data, stack_trace)
        self.completion_reason = completion_reason

    @classmethod
    def rebuilt(
        cls,
        message: str | None,
        error_type: str | None,
        data: str | None,
        stack_trace: Sequence[str] | None,
    ) -> Self:
        """Build it from a record, which does not hold the reason: there is only one."""
        return cls(
            CompletionReason.CUSTOM_COMPLETION_FAILED, message, error_type, data, stack_trace
        )


register_operation_error(BatchCompletionError)


@dataclass(frozen=True)
class BatchItem(Generic[R]):
    """One branch that had started, with its result or error if it has ended."""

    index: int
    status: BatchItemStatus
    result: R | None = None
    error: ErrorObject | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the written form."""
        return {
            "index": self.index,
            "status": self.status.value,
            "result": self.result,
            "error": None if self.error is None else _error_to_dict(self.error),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the written form."""
        error = data.get("error")
        return cls(
            index=data["index"],
            status=BatchItemStatus(data["status"]),
            result=data.get("result"),
            error=None if error is None else _error_from_dict(error),
        )


@dataclass(frozen=True)
class BatchResult(Generic[R]):
    """Results of a batch's branches, by index; branches that never started are absent."""

    all: list[BatchItem[R]]
    completion_reason: CompletionReason

    @property
    def status(self) -> BatchItemStatus:
        """FAILED when a branch has failed, unless a custom predicate decided otherwise."""
        match self.completion_reason:
            case CompletionReason.CUSTOM_COMPLETION_SUCCEEDED:
                return BatchItemStatus.SUCCEEDED
            case CompletionReason.CUSTOM_COMPLETION_FAILED:
                return BatchItemStatus.FAILED
            case _:
                failed = self.has_failure
                return BatchItemStatus.FAILED if failed else BatchItemStatus.SUCCEEDED

    @property
    def has_failure(self) -> bool:
        """True if a branch has failed."""
        return self.failure_count > 0

    @property
    def success_count(self) -> int:
        """The number of branches that have succeeded."""
        return len(self.succeeded())

    @property
    def failure_count(self) -> int:
        """The number of branches that have failed."""
        return len(self.failed())

    @property
    def started_count(self) -> int:
        """The number of branches that had not ended when the batch was complete."""
        return len(self.started())

    @property
    def total_count(self) -> int:
        """The number of branches that had started."""
        return len(self.all)

    def succeeded(self) -> list[BatchItem[R]]:
        """Return the branches that have succeeded."""
        return self._with(BatchItemStatus.SUCCEEDED)

    def failed(self) -> list[BatchItem[R]]:
        """Return the branches that have failed."""
        return self._with(BatchItemStatus.FAILED)

    def started(self) -> list[BatchItem[R]]:
        """Return the branches that had not ended when the batch was complete."""
        return self._with(BatchItemStatus.STARTED)

    def get_results(self) -> list[R]:
        """Return the results of the branches that have succeeded."""
        return [cast("R", item.result) for item in self.succeeded()]

    def get_errors(self) -> list[ErrorObject | None]:
        """Return the errors of the branches that have failed."""
        return [item.error for item in self.failed()]

    def throw_if_error(self) -> None:
        """Raise `ChildContextError` for the first failed branch, whatever the status of the batch.

        Raises `SerDesError` where the branch failed with one, and `BatchCompletionError` when none
        has failed, but a custom predicate decided FAILED.
        """
        for item in self.failed():
            unknown = ErrorObject(f"Branch {item.index} failed; its error was not recorded.")
            raise operation_error(ChildContextError, item.error or unknown)
        if self.status is not BatchItemStatus.FAILED:
            return
        raise BatchCompletionError(self.completion_reason)

    def to_dict(self) -> dict[str, Any]:
        """Return the written form."""
        return {
            "all": [item.to_dict() for item in self.all],
            "completionReason": self.completion_reason.value,
        }

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], completion_config: CompletionConfig | None = None
    ) -> Self:
        """Read the written form; an absent reason is inferred, as `from_items` does."""
        items: list[BatchItem[R]] = [BatchItem[R].from_dict(item) for item in data["all"]]
        reason = data.get("completionReason")
        if reason is None:
            return cls.from_items(items, completion_config)
        return cls(items, CompletionReason(reason))

    @classmethod
    def from_items(
        cls, items: list[BatchItem[R]], completion_config: CompletionConfig | None = None
    ) -> Self:
        """Return the result of `items`, with the reason that the policy yields.

        Their number is taken as that of all branches.
        """
        succeeded = sum(item.status is BatchItemStatus.SUCCEEDED for item in items)
        failed = sum(item.status is BatchItemStatus.FAILED for item in items)
        policy = CompletionPolicy(len(items), completion_config or CompletionConfig())
        statuses = tuple(CompletionItemStatus(item.index, status=item.status) for item in items)
        reason = policy.decide(succeeded, failed, lambda: statuses)
        return cls(items, reason or CompletionReason.ALL_COMPLETED)

    def _with(self, status: BatchItemStatus) -> list[BatchItem[R]]:
        return [item for item in self.all if item.status is status]


@dataclass(frozen=True)
class BatchSummary:
    """Summary of a result too large to record: enough to rebuild it from the branches.

    Branches start in the order of their indexes, so their number tells which have started.
    """

    total: int
    reason: CompletionReason
    started: frozenset[int]

    @classmethod
    def read(cls, payload: str) -> Self:
        """Read what `summarize` wrote; raises `ValueError`, `KeyError` or `TypeError`."""
        fields = json.loads(payload)
        total = int(fields["totalCount"])
        if "startedIndexes" in fields:
            started = frozenset(fields["startedIndexes"])
        else:
            started = frozenset(range(total)) - frozenset(fields["completedIndexes"])
        return cls(total, CompletionReason(fields["completionReason"]), started)


def summarize(kind: str, generator: Callable[[Any], str] | None, result: BatchResult[Any]) -> str:
    """Return the summary of a large result; only the shorter list of indexes is written."""
    started = [item.index for item in result.started()]
    completed = [item.index for item in result.all if item.status is not BatchItemStatus.STARTED]
    fields: dict[str, Any] = {
        "type": kind,
        "totalCount": result.total_count,
        "completionReason": result.completion_reason.value,
    }
    if len(started) <= len(completed):
        fields["startedIndexes"] = started
    else:
        fields["completedIndexes"] = completed
    fields["startedCount"] = result.started_count
    fields["successCount"] = result.success_count
    fields["failureCount"] = result.failure_count
    fields["status"] = result.status.value
    if generator is not None:
        fields["summary"] = generator(result)
    return json.dumps(fields)


def _error_to_dict(error: ErrorObject) -> dict[str, Any]:
    fields = {
        "ErrorMessage": error.message,
        "ErrorType": error.type,
        "ErrorData": error.data,
        "StackTrace": list(error.stack_trace) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _error_from_dict(fields: Mapping[str, Any]) -> ErrorObject:
    return ErrorObject(
        message=fields.get("ErrorMessage"),
        type=fields.get("ErrorType"),
        data=fields.get("ErrorData"),
        stack_trace=tuple(fields.get("StackTrace") or ()),
    )
