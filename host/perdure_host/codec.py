"""Conversion between messages of the gRPC contract and structs of the core.

Core never sees a protobuf message and the wire never sees a struct: both meet here, nowhere else.
Everything is pure. Input of a peer is checked for its shape only (enum values, ids, presence);
states and limits are checked by the core.

Reading what was written gives an equal struct, except for what the contract does not contain: the
two timeouts of a callback and their due times.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar, assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from perdure_core.commands import CompletionStatus
from perdure_core.limits import OPERATION_ID_CHARS_MAX
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
    WaitDetails,
)
from perdure_core.payload import text_of
from perdure_core.text import preview
from perdure_proto.v1 import model_pb2, worker_pb2

MS_PER_S = 1_000
NS_PER_MS = 1_000_000
# The range of google.protobuf.Timestamp: years 1 to 9999.
TIMESTAMP_S_MIN = -62_135_596_800
TIMESTAMP_S_MAX = 253_402_300_799

_ID = re.compile(rf"[A-Za-z0-9\-_]{{1,{OPERATION_ID_CHARS_MAX}}}")

# A dictionary is ten times faster than calling the enum, and this runs for every operation.
_TYPES = {str(each): each for each in OperationType}
_ACTIONS = {str(each): each for each in OperationAction}
_COMPLETION_STATUSES = {str(each): each for each in CompletionStatus}
_STATUSES = {str(each): each for each in OperationStatus}


_Value = TypeVar("_Value", bound=str)


class MalformedMessage(ValueError):
    """A message from a peer does not have the shape that the contract requires."""


def timestamp_from_ms(time_ms: int) -> Timestamp:
    """Return the message for a time in milliseconds since 1970."""
    seconds, ms = divmod(time_ms, MS_PER_S)
    return Timestamp(seconds=seconds, nanos=ms * NS_PER_MS)


def ms_from_timestamp(message: Timestamp) -> int:
    """Return the milliseconds since 1970; what is finer than that is dropped."""
    seconds, nanos = message.seconds, message.nanos
    if not (TIMESTAMP_S_MIN <= seconds <= TIMESTAMP_S_MAX and 0 <= nanos < MS_PER_S * NS_PER_MS):
        raise MalformedMessage(f"timestamp out of range: {seconds} s and {nanos} ns")
    return seconds * MS_PER_S + nanos // NS_PER_MS


def error_to_message(error: ErrorObject) -> model_pb2.ErrorObject:
    """Return the message for `error`.

    Reporting an error must never fail: characters that no message can contain, such as the halves
    of surrogate pairs in file names, become question marks.
    """
    try:
        return _error_message(error)
    except UnicodeEncodeError:
        return _error_message(
            ErrorObject(
                message=_sendable(error.message),
                type=_sendable(error.type),
                data=_sendable(error.data),
                stack_trace=tuple([str(_sendable(line)) for line in error.stack_trace]),
            )
        )


def error_from_message(message: model_pb2.ErrorObject) -> ErrorObject:
    """Return the error in `message`."""
    return ErrorObject(
        message=message.error_message if message.HasField("error_message") else None,
        type=message.error_type if message.HasField("error_type") else None,
        data=message.error_data if message.HasField("error_data") else None,
        stack_trace=tuple(message.stack_trace),
    )


def completion_status(text: str) -> CompletionStatus:
    """Return how an invocation ended. Raises MalformedMessage."""
    return _enum_value(_COMPLETION_STATUSES, text, "completion status")


def update_to_message(update: OperationUpdate) -> worker_pb2.OperationUpdate:
    """Return the message for `update`."""
    message = worker_pb2.OperationUpdate(
        id=update.id,
        type=update.type,
        action=update.action,
        parent_id=update.parent_id,
        name=update.name,
        sub_type=update.sub_type,
        payload=update.payload,
        error=None if update.error is None else error_to_message(update.error),
        duration_ms=update.duration_ms,
    )
    _write_options(message, update)
    return message


def update_from_message(message: worker_pb2.OperationUpdate) -> OperationUpdate:
    """Return the update in `message`.

    Options of any type are read; the core refuses misplaced ones.
    """
    step = message.step_options if message.HasField("step_options") else None
    wait = message.wait_options if message.HasField("wait_options") else None
    invoke = message.chained_invoke_options if message.HasField("chained_invoke_options") else None
    return OperationUpdate(
        id=_checked_id(message.id, "update id"),
        type=_enum_value(_TYPES, message.type, "operation type"),
        action=_enum_value(_ACTIONS, message.action, "operation action"),
        parent_id=_checked_id(message.parent_id, "parent id")
        if message.HasField("parent_id")
        else None,
        name=message.name if message.HasField("name") else None,
        sub_type=message.sub_type if message.HasField("sub_type") else None,
        payload=message.payload if message.HasField("payload") else None,
        error=error_from_message(message.error) if message.HasField("error") else None,
        replay_children=message.context_options.replay_children,
        next_attempt_delay_ms=None if step is None else step.next_attempt_delay_ms,
        wait_ms=None if wait is None else wait.wait_ms,
        timeout_s=message.callback_options.timeout_seconds,
        heartbeat_timeout_s=message.callback_options.heartbeat_timeout_seconds,
        function=None if invoke is None else invoke.function_name,
        tenant_id=invoke.tenant_id if invoke is not None and invoke.HasField("tenant_id") else None,
        trace_header=invoke.trace_header
        if invoke is not None and invoke.HasField("trace_header")
        else None,
        duration_ms=message.duration_ms if message.HasField("duration_ms") else None,
    )


def operation_to_message(operation: Operation) -> model_pb2.Operation:
    """Return the message for `operation`."""
    message = model_pb2.Operation(
        id=operation.id,
        type=operation.type,
        sub_type=operation.sub_type,
        name=operation.name,
        parent_id=operation.parent_id,
        status=operation.status,
    )
    # Fields are written in place: a message assigned to another is serialized and parsed.
    _write_timestamp(message.start_timestamp, operation.started_ms)
    if operation.ended_ms is not None:
        _write_timestamp(message.end_timestamp, operation.ended_ms)
    _write_details(message, operation.details)
    return message


def operation_from_message(message: model_pb2.Operation) -> Operation:
    """Return the operation in `message`."""
    operation_type = _enum_value(_TYPES, message.type, "operation type")
    return Operation(
        id=_checked_id(message.id, "operation id"),
        type=operation_type,
        status=_enum_value(_STATUSES, message.status, "operation status"),
        started_ms=ms_from_timestamp(message.start_timestamp),
        details=_read_details(message, operation_type),
        ended_ms=ms_from_timestamp(message.end_timestamp)
        if message.HasField("end_timestamp")
        else None,
        parent_id=_checked_id(message.parent_id, "parent id")
        if message.HasField("parent_id")
        else None,
        name=message.name if message.HasField("name") else None,
        sub_type=message.sub_type if message.HasField("sub_type") else None,
    )


def operations_from_messages(messages: Iterable[model_pb2.Operation]) -> tuple[Operation, ...]:
    """Return the operations in `messages`, in their order."""
    return tuple([operation_from_message(message) for message in messages])


def _error_message(error: ErrorObject) -> model_pb2.ErrorObject:
    return model_pb2.ErrorObject(
        error_message=error.message,
        error_type=error.type,
        error_data=error.data,
        stack_trace=error.stack_trace,
    )


def _sendable(text: str | None) -> str | None:
    return None if text is None else text.encode(errors="replace").decode()


def _write_options(message: worker_pb2.OperationUpdate, update: OperationUpdate) -> None:
    if update.replay_children:
        message.context_options.replay_children = True
    if update.next_attempt_delay_ms is not None:
        message.step_options.SetInParent()
        message.step_options.next_attempt_delay_ms = update.next_attempt_delay_ms
    if update.wait_ms is not None:
        message.wait_options.SetInParent()
        message.wait_options.wait_ms = update.wait_ms
    if update.timeout_s or update.heartbeat_timeout_s:
        message.callback_options.timeout_seconds = update.timeout_s
        message.callback_options.heartbeat_timeout_seconds = update.heartbeat_timeout_s
    if update.function is not None:
        message.chained_invoke_options.SetInParent()
        message.chained_invoke_options.function_name = update.function
        if update.tenant_id is not None:
            message.chained_invoke_options.tenant_id = update.tenant_id
        if update.trace_header is not None:
            message.chained_invoke_options.trace_header = update.trace_header


def _write_details(message: model_pb2.Operation, details: Details) -> None:
    match details:
        case StepDetails():
            _write_step(message.step_details, details)
        case WaitDetails():
            message.wait_details.scheduled_end_timestamp.CopyFrom(
                timestamp_from_ms(details.scheduled_end_ms)
            )
        case ContextDetails():
            message.context_details.CopyFrom(_context_to_message(details))
        case CallbackDetails():
            message.callback_details.CopyFrom(_callback_to_message(details))
        case ChainedInvokeDetails():
            message.chained_invoke_details.CopyFrom(_chained_invoke_to_message(details))
        case ExecutionDetails():
            message.execution_details.CopyFrom(
                model_pb2.ExecutionDetails(input_payload=text_of(details.input))
            )
        case _:
            assert_never(details)


def _write_step(message: model_pb2.StepDetails, details: StepDetails) -> None:
    message.SetInParent()
    message.attempt = details.attempt
    if details.next_attempt_ms is not None:
        _write_timestamp(message.next_attempt_timestamp, details.next_attempt_ms)
    result = text_of(details.result)
    if result is not None:
        message.result = result
    if details.error is not None:
        message.error.CopyFrom(error_to_message(details.error))
    if details.attempt_started_ms is not None:
        _write_timestamp(message.attempt_started_timestamp, details.attempt_started_ms)
    if details.heartbeat is not None:
        message.heartbeat_details = details.heartbeat
    if details.heartbeat_ms is not None:
        _write_timestamp(message.heartbeat_timestamp, details.heartbeat_ms)


def _write_timestamp(message: Timestamp, time_ms: int) -> None:
    seconds, ms = divmod(time_ms, MS_PER_S)
    message.SetInParent()
    message.seconds = seconds
    message.nanos = ms * NS_PER_MS


def _context_to_message(details: ContextDetails) -> model_pb2.ContextDetails:
    return model_pb2.ContextDetails(
        replay_children=details.replay_children,
        result=text_of(details.result),
        error=_optional_error(details.error),
    )


def _callback_to_message(details: CallbackDetails) -> model_pb2.CallbackDetails:
    return model_pb2.CallbackDetails(
        callback_id=details.callback_id,
        result=text_of(details.result),
        error=_optional_error(details.error),
    )


def _chained_invoke_to_message(details: ChainedInvokeDetails) -> model_pb2.ChainedInvokeDetails:
    return model_pb2.ChainedInvokeDetails(
        function_name=details.function,
        execution_arn=details.execution_arn,
        result=text_of(details.result),
        error=_optional_error(details.error),
    )


def _read_details(message: model_pb2.Operation, operation_type: OperationType) -> Details:
    match operation_type:
        case OperationType.STEP:
            return _step_from_message(message.step_details)
        case OperationType.WAIT:
            return _wait_from_message(message)
        case OperationType.CONTEXT:
            return _context_from_message(message.context_details)
        case OperationType.CALLBACK:
            return _callback_from_message(message.callback_details)
        case OperationType.CHAINED_INVOKE:
            return _chained_invoke_from_message(message.chained_invoke_details)
        case OperationType.EXECUTION:
            details = message.execution_details
            return ExecutionDetails(
                input=details.input_payload if details.HasField("input_payload") else None
            )
        case _:
            assert_never(operation_type)


def _step_from_message(details: model_pb2.StepDetails) -> StepDetails:
    return StepDetails(
        attempt=details.attempt,
        next_attempt_ms=ms_from_timestamp(details.next_attempt_timestamp)
        if details.HasField("next_attempt_timestamp")
        else None,
        result=details.result if details.HasField("result") else None,
        error=error_from_message(details.error) if details.HasField("error") else None,
        attempt_started_ms=ms_from_timestamp(details.attempt_started_timestamp)
        if details.HasField("attempt_started_timestamp")
        else None,
        heartbeat=details.heartbeat_details if details.HasField("heartbeat_details") else None,
        heartbeat_ms=ms_from_timestamp(details.heartbeat_timestamp)
        if details.HasField("heartbeat_timestamp")
        else None,
    )


def _wait_from_message(message: model_pb2.Operation) -> WaitDetails:
    # The contract has no duration of a wait: it is the time from its start to its scheduled end.
    scheduled_end_ms = ms_from_timestamp(message.wait_details.scheduled_end_timestamp)
    return WaitDetails(
        duration_ms=scheduled_end_ms - ms_from_timestamp(message.start_timestamp),
        scheduled_end_ms=scheduled_end_ms,
    )


def _context_from_message(details: model_pb2.ContextDetails) -> ContextDetails:
    return ContextDetails(
        replay_children=details.replay_children,
        result=details.result if details.HasField("result") else None,
        error=error_from_message(details.error) if details.HasField("error") else None,
    )


def _callback_from_message(details: model_pb2.CallbackDetails) -> CallbackDetails:
    return CallbackDetails(
        callback_id=details.callback_id,
        result=details.result if details.HasField("result") else None,
        error=error_from_message(details.error) if details.HasField("error") else None,
    )


def _chained_invoke_from_message(details: model_pb2.ChainedInvokeDetails) -> ChainedInvokeDetails:
    return ChainedInvokeDetails(
        function=details.function_name,
        execution_arn=details.execution_arn if details.HasField("execution_arn") else None,
        result=details.result if details.HasField("result") else None,
        error=error_from_message(details.error) if details.HasField("error") else None,
    )


def _optional_error(error: ErrorObject | None) -> model_pb2.ErrorObject | None:
    return None if error is None else error_to_message(error)


def _enum_value(values: Mapping[str, _Value], text: str, what: str) -> _Value:
    value = values.get(text)
    if value is None:
        raise MalformedMessage(f"unknown {what} {preview(text)}; expected {' | '.join(values)}")
    return value


def _checked_id(text: str, what: str) -> str:
    if _ID.fullmatch(text) is None:
        raise MalformedMessage(
            f"malformed {what} {preview(text)}; "
            f"expected 1 to {OPERATION_ID_CHARS_MAX} characters of [A-Za-z0-9-_]"
        )
    return text
