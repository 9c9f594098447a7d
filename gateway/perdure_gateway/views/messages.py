"""Executions, summaries and functions in the messages of the contract."""

from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from perdure_core.identity import arn_of
from perdure_core.limits import OPEN_CALLBACKS_SHOWN_MAX
from perdure_core.model import CallbackDetails, ExecutionStatus
from perdure_core.state import PauseState, State, identity_of, is_open, waiting_for
from perdure_host.codec import error_to_message, timestamp_from_ms
from perdure_host.ports import ExecutionKey, ExecutionRow, FunctionRow
from perdure_host.services import QuarantinedExecution, key_of_identity
from perdure_proto.v1 import client_pb2, model_pb2


def state_arn(state: State) -> str:
    """Return the ARN of the execution."""
    return arn_of(identity_of(state))


def state_key(state: State) -> ExecutionKey:
    """Return the key of the execution in the store."""
    return key_of_identity(identity_of(state))


def execution_to_message(state: State, *, exclude_data: bool = False) -> model_pb2.Execution:
    """Return the execution without its history and without payloads outside the record."""
    message = model_pb2.Execution(
        execution_arn=state_arn(state),
        execution_name=state.name,
        function_name=state.function,
        status=ExecutionStatus.DELETING if state.deleted_ms is not None else state.status,
        start_timestamp=timestamp_from_ms(state.started_ms),
        end_timestamp=_optional_timestamp(state.ended_ms),
        execution_timeout_seconds=state.timeout_s,
        retention_days=state.retention_days,
        event_count=state.event_count,
        waiting_for=_waiting_for(state),
        consecutive_invocation_failures=state.invocation_failures,
        error=None if state.error is None else error_to_message(state.error),
        trace_header=state.trace_header,
    )
    if not exclude_data:
        _write_payloads(message, state)
    if is_open(state):
        _write_pending(message, state)
    return message


def quarantined_to_message(quarantined: QuarantinedExecution) -> model_pb2.Execution:
    """Return what is known of an execution that cannot be read."""
    row = quarantined.row
    return model_pb2.Execution(
        execution_arn=arn_of(row.identity),
        execution_name=row.name,
        function_name=row.function,
        status=row.status,
        start_timestamp=timestamp_from_ms(row.started_ms),
        end_timestamp=_optional_timestamp(row.ended_ms),
        quarantine_details=model_pb2.QuarantineDetails(
            reason=quarantined.reason,
            quarantine_timestamp=timestamp_from_ms(quarantined.since_ms),
        ),
    )


def summary_to_message(
    row: ExecutionRow, quarantine_reason: str | None = None
) -> model_pb2.ExecutionSummary:
    """Return the execution as an entry of a list."""
    return model_pb2.ExecutionSummary(
        execution_arn=arn_of(row.identity),
        execution_name=row.name,
        function_name=row.function,
        status=row.status,
        start_timestamp=timestamp_from_ms(row.started_ms),
        end_timestamp=_optional_timestamp(row.ended_ms),
        diverged=row.waiting_for == "diverged",
        quarantine_reason=quarantine_reason,
    )


def function_to_message(row: FunctionRow, workers_connected: int) -> client_pb2.Function:
    """Return a function that workers have registered."""
    return client_pb2.Function(
        function_name=row.name,
        execution_timeout_seconds=row.execution_timeout_s,
        retention_days=row.retention_days,
        durable=row.durable,
        workers_connected=workers_connected,
    )


def open_callback_to_message(state: State, operation_id: str) -> model_pb2.OpenCallback:
    """Return an open callback of the execution."""
    operation = state.operations[operation_id]
    details = operation.details
    assert isinstance(details, CallbackDetails)
    dues_ms = (details.timeout_due_ms, details.heartbeat_due_ms)
    due_ms = min((due for due in dues_ms if due is not None), default=None)
    return model_pb2.OpenCallback(
        callback_id=details.callback_id,
        operation_id=operation.id,
        name=operation.name,
        start_timestamp=timestamp_from_ms(operation.started_ms),
        due_timestamp=_optional_timestamp(due_ms),
    )


def _waiting_for(state: State) -> str:
    # Every pause waits for a resume; the details of the pause name its cause.
    reason = waiting_for(state)
    return "pause" if reason == "diverged" else reason


def _write_payloads(message: model_pb2.Execution, state: State) -> None:
    if isinstance(state.input, str):
        message.input = state.input
    if isinstance(state.result, str):
        message.result = state.result


def _write_pending(message: model_pb2.Execution, state: State) -> None:
    """Write the deadlines, the pause and the open callbacks of an execution that has not ended."""
    message.execution_deadline_timestamp.CopyFrom(timestamp_from_ms(state.deadline_ms))
    next_due_ms = state.alarms.next_due_ms()
    if next_due_ms is not None:
        message.next_timer_timestamp.CopyFrom(timestamp_from_ms(next_due_ms))
    if state.pause is not None:
        message.pause_details.CopyFrom(_pause_to_message(state.pause))
    if state.open_callbacks:
        message.open_callback_count = len(state.open_callbacks)
        first = islice(state.open_callbacks, OPEN_CALLBACKS_SHOWN_MAX)
        message.open_callbacks.extend([open_callback_to_message(state, each) for each in first])


def _pause_to_message(pause: PauseState) -> model_pb2.PauseDetails:
    return model_pb2.PauseDetails(
        pause_request_timestamp=timestamp_from_ms(pause.requested_ms),
        reason=pause.reason,
        execution_timeout_paused=pause.timeout_paused,
        diverged=pause.diverged,
    )


def _optional_timestamp(time_ms: int | None) -> Timestamp | None:
    return None if time_ms is None else timestamp_from_ms(time_ms)
