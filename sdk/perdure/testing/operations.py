"""What a test asks of an execution's operations: typed, frozen views of them.

Names and fields are those of the AWS durable execution testing kit for Python 1.4 (runner).
`result` is text as it was recorded; `value` is what the default serdes makes of it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from perdure.serdes.serializers import ExtendedTypeSerDes
from perdure.testing.failures import DurableFunctionsTestError
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    ExecutionDetails,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
)
from perdure_core.model import Operation as Recorded
from perdure_core.payload import text_of
from perdure_core.timestamps import from_epoch_ms

_EXTENDED_TYPES = ExtendedTypeSerDes()


@dataclass(frozen=True)
class Operation:
    """What every operation has."""

    operation_id: str
    operation_type: OperationType
    status: OperationStatus
    parent_id: str | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    sub_type: str | None = field(default=None, kw_only=True)
    start_timestamp: datetime | None = field(default=None, kw_only=True)
    end_timestamp: datetime | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ExecutionOperation(Operation):
    """The execution itself."""

    input_payload: str | None = None


@dataclass(frozen=True)
class WaitOperation(Operation):
    """A durable timer."""

    scheduled_end_timestamp: datetime | None = None


@dataclass(frozen=True)
class InvokeOperation(Operation):
    """Another function that was asked to run, as the execution `execution_arn`."""

    result: str | None = None
    error: ErrorObject | None = None
    function_name: str | None = None
    execution_arn: str | None = None

    @property
    def value(self) -> Any:
        """The result, read as JSON."""
        return None if self.result is None else json.loads(self.result)


@dataclass(frozen=True)
class ContextOperation(Operation):
    """A child context, with the operations inside it."""

    child_operations: tuple[Operation, ...] = ()
    result: str | None = None
    error: ErrorObject | None = None

    @property
    def value(self) -> Any:
        """The result, read as `ExtendedTypeSerDes` wrote it."""
        return None if self.result is None else _EXTENDED_TYPES.deserialize(self.result)

    def get_operation_by_name(self, name: str) -> Operation:
        """Return the first operation of this name below this one."""
        return find_operation(self.child_operations, name, Operation)

    def get_step(self, name: str) -> "StepOperation":
        """Return the step of this name below this one."""
        return find_operation(self.child_operations, name, StepOperation)

    def get_wait(self, name: str) -> WaitOperation:
        """Return the wait of this name below this one."""
        return find_operation(self.child_operations, name, WaitOperation)

    def get_context(self, name: str) -> "ContextOperation":
        """Return the context of this name below this one."""
        return find_operation(self.child_operations, name, ContextOperation)

    def get_callback(self, name: str) -> "CallbackOperation":
        """Return the callback of this name below this one."""
        return find_operation(self.child_operations, name, CallbackOperation)

    def get_invoke(self, name: str) -> InvokeOperation:
        """Return the chained invoke of this name below this one."""
        return find_operation(self.child_operations, name, InvokeOperation)


@dataclass(frozen=True)
class StepOperation(ContextOperation):
    """A step, or a condition that is polled. `attempt` counts finished attempts.

    `attempt_start_timestamp` is when the one under way began, `heartbeat_timestamp` when its last
    recorded heartbeat was, and `heartbeat_details` what the last one said, until the step ends.
    """

    attempt: int = 0
    next_attempt_timestamp: datetime | None = None
    attempt_start_timestamp: datetime | None = None
    heartbeat_timestamp: datetime | None = None
    heartbeat_details: Any = None


@dataclass(frozen=True)
class CallbackOperation(ContextOperation):
    """A promise that somebody outside keeps. The text that completed it is `result`."""

    callback_id: str | None = None


Found = TypeVar("Found", bound=Operation)


def view_operations(recorded: Iterable[Recorded]) -> tuple[Operation, ...]:
    """Return views of the outermost operations, in order of start; the others lie inside them."""
    below: dict[str | None, list[Recorded]] = {}
    for operation in recorded:
        below.setdefault(operation.parent_id, []).append(operation)
    return _views(below, None)


def view_execution(recorded: Recorded, input_payload: str | None) -> ExecutionOperation:
    """Return a view of the execution itself."""
    shared = _shared(recorded)
    return ExecutionOperation(**shared, input_payload=input_payload)


def all_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Return operations and what lies inside them, outer ones first."""
    for operation in operations:
        yield operation
        if isinstance(operation, ContextOperation):
            yield from all_operations(operation.child_operations)


def find_operation(operations: Iterable[Operation], name: str, kind: type[Found]) -> Found:
    """Return the first operation of this name, those further out first.

    Raises `DurableFunctionsTestError` when there is none, or when it is of another kind.
    """
    there = sorted(_with_depth(operations, 0), key=lambda each: each[0])
    named = [operation for _, operation in there if operation.name == name]
    fitting = [operation for operation in named if _is_a(operation, kind)]
    if fitting:
        return cast("Found", fitting[0])
    if named:
        raise DurableFunctionsTestError(
            f"{name!r} is a {named[0].operation_type}, not a {kind.__name__}."
        )
    names = ", ".join(repr(operation.name) for _, operation in there if operation.name)
    raise DurableFunctionsTestError(
        f"There is no operation named {name!r}; there are {names or 'none with names'}."
    )


def _is_a(operation: Operation, kind: type[Operation]) -> bool:
    # Steps and callbacks share the fields of contexts, and are none.
    if kind is ContextOperation:
        return operation.operation_type is OperationType.CONTEXT
    return isinstance(operation, kind)


def _with_depth(operations: Iterable[Operation], depth: int) -> Iterator[tuple[int, Operation]]:
    for operation in operations:
        yield depth, operation
        if isinstance(operation, ContextOperation):
            yield from _with_depth(operation.child_operations, depth + 1)


def _views(below: dict[str | None, list[Recorded]], parent_id: str | None) -> tuple[Operation, ...]:
    return tuple(
        _view(operation, _views(below, operation.id)) for operation in below.get(parent_id, ())
    )


def _view(recorded: Recorded, children: tuple[Operation, ...]) -> Operation:
    shared = _shared(recorded)
    match recorded.details:
        case ExecutionDetails(input=payload):
            return ExecutionOperation(**shared, input_payload=text_of(payload))
        case WaitDetails(scheduled_end_ms=end_ms):
            return WaitOperation(**shared, scheduled_end_timestamp=from_epoch_ms(end_ms))
        case ChainedInvokeDetails(function, arn, result, error):
            return InvokeOperation(
                **shared,
                result=text_of(result),
                error=error,
                function_name=function,
                execution_arn=arn,
            )
        case ContextDetails() | StepDetails() | CallbackDetails() as details:
            return _outer_view(details, {**shared, "child_operations": children})


def _outer_view(
    details: ContextDetails | StepDetails | CallbackDetails, shared: dict[str, Any]
) -> Operation:
    shared |= {"result": text_of(details.result), "error": details.error}
    match details:
        case ContextDetails():
            return ContextOperation(**shared)
        case StepDetails():
            return _step_view(details, shared)
        case CallbackDetails(callback_id=callback_id):
            return CallbackOperation(**shared, callback_id=callback_id)


def _step_view(details: StepDetails, shared: dict[str, Any]) -> StepOperation:
    told = details.heartbeat
    return StepOperation(
        **shared,
        attempt=details.attempt,
        next_attempt_timestamp=_optional_moment(details.next_attempt_ms),
        attempt_start_timestamp=_optional_moment(details.attempt_started_ms),
        heartbeat_timestamp=_optional_moment(details.heartbeat_ms),
        heartbeat_details=None if told is None else _EXTENDED_TYPES.deserialize(told),
    )


def _optional_moment(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else from_epoch_ms(at_ms)


def _shared(recorded: Recorded) -> dict[str, Any]:
    return {
        "operation_id": recorded.id,
        "operation_type": recorded.type,
        "status": recorded.status,
        "parent_id": recorded.parent_id,
        "name": recorded.name,
        "sub_type": recorded.sub_type,
        "start_timestamp": from_epoch_ms(recorded.started_ms),
        "end_timestamp": None if recorded.ended_ms is None else from_epoch_ms(recorded.ended_ms),
    }
