"""Views of an execution's operations for tests: typed and frozen.

Names and fields are those of the AWS durable execution testing kit for Python 1.4 (runner).
`result` is the recorded text; `value` is decoded from it by the default serdes.
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
    """Fields of every operation."""

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
    """An invoke of another function, as the execution `execution_arn`."""

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

    `attempt_start_timestamp` is the start of the running one, `heartbeat_timestamp` the time of its
    last recorded heartbeat, and `heartbeat_details` its details, until the step ends.
    """

    attempt: int = 0
    next_attempt_timestamp: datetime | None = None
    attempt_start_timestamp: datetime | None = None
    heartbeat_timestamp: datetime | None = None
    heartbeat_details: Any = None


@dataclass(frozen=True)
class CallbackOperation(ContextOperation):
    """A callback. `result` is the text that completed it."""

    callback_id: str | None = None


Found = TypeVar("Found", bound=Operation)


def view_operations(recorded: Iterable[Recorded]) -> tuple[Operation, ...]:
    """Return views of the outermost operations, in order of start; they contain the others."""
    below: dict[str | None, list[Recorded]] = {}
    for operation in recorded:
        below.setdefault(operation.parent_id, []).append(operation)
    return _views(below, None)


def view_execution(recorded: Recorded, input_payload: str | None) -> ExecutionOperation:
    """Return a view of the execution itself."""
    shared = _shared(recorded)
    return ExecutionOperation(**shared, input_payload=input_payload)


def all_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Return operations and those inside them, outer ones first."""
    for operation in operations:
        yield operation
        if isinstance(operation, ContextOperation):
            yield from all_operations(operation.child_operations)


def find_operation(operations: Iterable[Operation], name: str, kind: type[Found]) -> Found:
    """Return the first operation of this name, outer ones first.

    Raises `DurableFunctionsTestError` when there is none, or when it is of another kind.
    """
    present = sorted(_with_depth(operations, 0), key=lambda each: each[0])
    named = [operation for _, operation in present if operation.name == name]
    matching = [operation for operation in named if _is_a(operation, kind)]
    if matching:
        return cast("Found", matching[0])
    if named:
        raise DurableFunctionsTestError(
            f"{name!r} is a {named[0].operation_type}, not a {kind.__name__}."
        )
    names = ", ".join(repr(operation.name) for _, operation in present if operation.name)
    raise DurableFunctionsTestError(
        f"No operation is named {name!r}. Named operations: {names or 'none'}."
    )


def _is_a(operation: Operation, kind: type[Operation]) -> bool:
    # Steps and callbacks have the fields of contexts, but are not contexts.
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
    heartbeat = details.heartbeat
    return StepOperation(
        **shared,
        attempt=details.attempt,
        next_attempt_timestamp=_optional_time(details.next_attempt_ms),
        attempt_start_timestamp=_optional_time(details.attempt_started_ms),
        heartbeat_timestamp=_optional_time(details.heartbeat_ms),
        heartbeat_details=None if heartbeat is None else _EXTENDED_TYPES.deserialize(heartbeat),
    )


def _optional_time(at_ms: int | None) -> datetime | None:
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
