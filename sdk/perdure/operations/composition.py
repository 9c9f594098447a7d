"""Compositions of branches: race, any_of and all_of select a value from the result of a batch.

Each is a batch with a policy of its own, recorded as one context. The value is selected from its
result, on the first run and when a large result is rebuilt. Branches that are not awaited any more
are cancelled: their open waits are recorded as such just before the context closes.

Branches that had ended before this invocation began count first, in the order of the record, and
only then may others start: the branch that decided before a crash decides again after it, and no
wait that was cancelled for its sake is awaited again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from perdure.exceptions import (
    ChildContextError,
    DurableOperationError,
    SerDesError,
    qualified_name,
    register_operation_error,
)
from perdure.operations.batch_kinds import BatchKind
from perdure.operations.program import Program, Send
from perdure.primitives.completion import BatchItemStatus, CompletionConfig
from perdure.serdes.batch_result import BatchItem, BatchResult
from perdure.serdes.error_records import (
    DATA_BYTES_MAX,
    error_record,
    operation_error,
    record_of,
    wrapping_error,
)
from perdure.serdes.serializers import SerDes, SerDesContext
from perdure_core.model import ErrorObject, Operation, OperationUpdate
from perdure_core.text import cut_chars

# The longest field of one error that `AnyOfError` records, if all fit.
FIELD_CHARS_MAX: Final = 1_000
FIELD_CHARS_MIN: Final = 100


class AnyOfError(DurableOperationError):
    """All branches of an `any_of` failed. `errors` holds what each one failed with, in their order.

    Its record is bounded: of many or long errors, messages and data are cut, and at last whole
    errors are left out; the message gives their number. None has a stack trace: those are in the
    records of the branches.
    """

    __recorded_name__ = "perdure.composition.AnyOfError"

    def __init__(
        self,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: Sequence[str] | None = None,
    ) -> None:
        super().__init__(message, error_type, data, stack_trace)
        self.errors: tuple[ChildContextError, ...] = _read_errors(data)

    @classmethod
    def of(cls, errors: Sequence[ChildContextError]) -> Self:
        """Return the error for branches that failed with `errors`."""
        last = errors[-1].message if errors else None
        count = len(errors)
        message = f"None of {count:,} branches succeeded; the last of them failed with: {last}"
        return cls(message, qualified_name(cls), _written_errors(errors))


register_operation_error(AnyOfError)


@dataclass(frozen=True)
class Winner:
    """The branch that decides, and what it returned."""

    index: int
    value: Any


@dataclass(frozen=True)
class Composition:
    """A rule for combining branches. `select` returns a `Winner` or a list, or raises.

    `call` is the method of contexts that applies it.
    """

    call: str
    kind: BatchKind
    policy: CompletionConfig
    select: Callable[[BatchResult[Any]], Any]
    allows_no_branches: bool = False


def _first_to_end(result: BatchResult[Any]) -> Winner:
    item = next(item for item in result.all if item.status is not BatchItemStatus.STARTED)
    return _winner(item)


def _first_success(result: BatchResult[Any]) -> Winner:
    succeeded = result.succeeded()
    if succeeded:
        return _winner(succeeded[0])
    raise AnyOfError.of([_child_error(item.error) for item in result.failed()])


def _all_values(result: BatchResult[Any]) -> list[Any]:
    for item in result.failed():
        raise _failure(item)
    return result.get_results()


RACE: Final = Composition(
    "race",
    BatchKind("RaceResult", "Race", "RaceBranch", "race-branch"),
    CompletionConfig(min_successful=1, tolerated_failure_count=0),
    _first_to_end,
)
ANY_OF: Final = Composition(
    "any_of",
    BatchKind("AnyOfResult", "AnyOf", "AnyOfBranch", "any-of-branch"),
    CompletionConfig(min_successful=1),
    _first_success,
)
ALL_OF: Final = Composition(
    "all_of",
    BatchKind("AllOfResult", "AllOf", "AllOfBranch", "all-of-branch"),
    CompletionConfig(tolerated_failure_count=0),
    _all_values,
    allows_no_branches=True,
)


def compose(
    program: Program[BatchResult[Any]],
    composition: Composition,
    open_waits: Callable[[], Sequence[OperationUpdate]],
    keep: Callable[[BatchResult[Any]], None],
) -> Program[Any]:
    """Run the batch, cancel the waits that it leaves open, and select the value of its result.

    `open_waits` returns the cancellations of those waits; `keep` receives the result.
    """
    result = yield from program
    for cancellation in open_waits():
        yield Send(cancellation)
    keep(result)
    return composition.select(result)


def recorded_progress(branches: Sequence[Operation | None]) -> tuple[list[int], int]:
    """Return which branches have ended, in the order of the record, and how many have started.

    Branches start in the order of their indexes.
    """
    ended = sorted(
        (each.ended_ms, index)
        for index, each in enumerate(branches)
        if each is not None and each.ended_ms is not None
    )
    begun = [index + 1 for index, each in enumerate(branches) if each is not None]
    return [index for _, index in ended], max(begun, default=0)


def unwrap_any_of_error(program: Program[Any]) -> Program[Any]:
    """Run `program`, and raise its `AnyOfError` without the `ChildContextError` around it."""
    try:
        return (yield from program)
    except ChildContextError as error:
        if not isinstance(error.__cause__, AnyOfError):
            raise
        failure = error.__cause__
    raise failure


def failure_of_branch(error: BaseException) -> ErrorObject:
    """Return the recorded error of a context whose branch failed: that of the branch."""
    return record_of(error) if isinstance(error, ChildContextError) else error_record(error)


@dataclass(frozen=True)
class WinnerSerDes(SerDes[Any]):
    """Writes a `Winner`, and reads its value.

    The value is written by the serializer of its branch; with the number of the branch beside it,
    if serializers differ.
    """

    branches: Sequence[SerDes[Any]]

    def serialize(self, value: Winner, serdes_context: SerDesContext) -> str:
        """Return the value as text."""
        text = self.branches[value.index].serialize(value.value, serdes_context)
        if _alike(self.branches):
            return text
        return json.dumps({"branch": value.index, "value": json.loads(text)})

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        """Return the value that `data` holds."""
        if _alike(self.branches):
            return self.branches[0].deserialize(data, serdes_context)
        written = json.loads(data)
        text = json.dumps(written["value"])
        return self.branches[int(written["branch"])].deserialize(text, serdes_context)


@dataclass(frozen=True)
class ListSerDes(SerDes[Any]):
    """Writes a list, each value by the serializer of its branch."""

    branches: Sequence[SerDes[Any]]

    def serialize(self, value: list[Any], serdes_context: SerDesContext) -> str:
        """Return the value as text."""
        pairs = zip(self.branches, value, strict=True)
        return json.dumps(
            [json.loads(each.serialize(item, serdes_context)) for each, item in pairs]
        )

    def deserialize(self, data: str, serdes_context: SerDesContext) -> list[Any]:
        """Return the values that `data` holds."""
        pairs = zip(self.branches, json.loads(data), strict=True)
        return [each.deserialize(json.dumps(item), serdes_context) for each, item in pairs]


def _alike(branches: Sequence[SerDes[Any]]) -> bool:
    return all(each is branches[0] or each == branches[0] for each in branches)


def _winner(item: BatchItem[Any]) -> Winner:
    if item.error is not None:
        raise _failure(item)
    return Winner(item.index, item.result)


def _failure(item: BatchItem[Any]) -> DurableOperationError | SerDesError:
    return operation_error(ChildContextError, item.error)


def _child_error(failure: ErrorObject | None) -> ChildContextError:
    return wrapping_error(ChildContextError, failure)


def _written_errors(errors: Sequence[ChildContextError]) -> str:
    """Return the errors as JSON of at most `DATA_BYTES_MAX` bytes."""
    chars_max, count = FIELD_CHARS_MAX, len(errors)
    while True:  # ends: with no error left, nothing is too long
        fields = [
            [cut_chars(text, chars_max) for text in (each.error_type, each.message, each.data)]
            for each in errors[:count]
        ]
        written = json.dumps(fields, separators=(",", ":"))
        if len(written) <= DATA_BYTES_MAX:
            return written
        # First shorter, then fewer.
        chars_max, count = (
            (chars_max // 2, count) if chars_max > FIELD_CHARS_MIN else (chars_max, count // 2)
        )


def _read_errors(data: str | None) -> tuple[ChildContextError, ...]:
    """Return the errors that `_written_errors` wrote; none for any other text."""
    try:
        fields = json.loads(data or "[]")
        objects = [ErrorObject(message, kind, detail) for kind, message, detail in fields]
    except (ValueError, TypeError):
        return ()
    return tuple(map(_child_error, objects))
