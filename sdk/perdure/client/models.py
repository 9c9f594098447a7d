"""Results of the client's calls: typed, frozen dataclasses, with times as aware datetimes.

Each holds the message that it was read from, so that `to_json` returns exactly the API's JSON, with
the names of the contract. Values of open sets (statuses, event types) stay strings: a newer server
may know more of them than this client.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure_proto.v1 import client_pb2, model_pb2

ENDED_STATUSES: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorDescription:
    """A recorded error."""

    error_type: str | None
    error_message: str | None
    error_data: str | None
    stack_trace: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCallback:
    """A callback that is not completed yet."""

    callback_id: str
    operation_id: str
    name: str | None
    started_at: datetime
    due_at: datetime | None
    wire: model_pb2.OpenCallback = field(
        default_factory=model_pb2.OpenCallback, repr=False, compare=False
    )

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class PauseDescription:
    """Time and reason of a pause.

    `diverged`: automatically, because a replay did not match the history.
    """

    requested_at: datetime
    reason: str | None
    execution_timeout_paused: bool
    diverged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionSummary:
    """One execution of a list; `diverged`: paused because a replay did not match the history."""

    execution_arn: str
    execution_name: str
    function_name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    diverged: bool
    # Why what is stored of it cannot be read; None unless that is so.
    quarantine_reason: str | None = None
    wire: model_pb2.ExecutionSummary = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionDescription:
    """One execution, without its history."""

    execution_arn: str
    execution_name: str
    function_name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    # The serialized text; `result` below decodes that of an execution that succeeded.
    input_text: str | None
    result_text: str | None
    error: ErrorDescription | None
    execution_timeout_s: int
    retention_days: int
    deadline_at: datetime | None
    # The oldest only, at most 100; `Client.list_open_callbacks` returns all of them.
    open_callbacks: tuple[OpenCallback, ...]
    open_callback_count: int
    pause: PauseDescription | None
    event_count: int
    # task | timer | callback | child | pause | ended
    waiting_for: str
    next_timer_at: datetime | None
    consecutive_invocation_failures: int
    # Why what is stored of it cannot be read, and since when the server knows; None unless so.
    quarantine_reason: str | None = None
    quarantined_at: datetime | None = None
    wire: model_pb2.Execution = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """True if the execution has ended."""
        return self.ended_at is not None or self.status in ENDED_STATUSES

    @property
    def result(self) -> Any:
        """The result as a Python value; None when there is none."""
        return decode_payload(self.result_text)

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedExecution:
    """Result of a start."""

    execution_arn: str
    # False when an equal start of the same name came before.
    started: bool
    execution: ExecutionDescription


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryDescription:
    """The attempt that an event ends, and the delay of the next one; None: it was the last."""

    attempt: int
    next_attempt_delay_ms: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEvent:
    """One event of a history: the fields of all types. `wire` holds those of some types only."""

    event_id: int
    event_type: str
    at: datetime
    operation_id: str | None
    parent_id: str | None
    name: str | None
    sub_type: str | None
    input_text: str | None
    result_text: str | None
    error: ErrorDescription | None
    retry: RetryDescription | None
    callback_id: str | None
    wire: model_pb2.Event = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedItem:
    """An execution, or a row that belongs to none, that cannot be read.

    `place` is the key of the row, in words; `execution_arn` is that of an execution whose row can
    be read.
    """

    kind: str
    place: str
    reason: str
    quarantined_at: datetime
    execution_arn: str | None
    wire: client_pb2.QuarantinedItem = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRow:
    """A row as the database holds it."""

    table: str
    columns: Mapping[str, int | float | str | bytes | None]

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON; bytes are an object with the one key `base64`."""
        columns = {
            name: {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value
            for name, value in self.columns.items()
        }
        return {"table": self.table, "columns": columns}


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionDescription:
    """A function that workers have registered."""

    function_name: str
    execution_timeout_s: int
    retention_days: int
    durable: bool
    workers_connected: int
    wire: client_pb2.Function = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the API's message as JSON."""
        return to_json_dict(self.wire)


def to_json_dict(message: Message) -> dict[str, Any]:
    """Return a message of the contract as a JSON object, with the contract's names."""
    fields: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def decode_payload(text: str | None) -> Any:
    """Return the value of a payload; text that is not JSON is returned unchanged."""
    if text is None or not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_execution(message: model_pb2.Execution) -> ExecutionDescription:
    """Read one execution."""
    present = _present(message)
    quarantine: model_pb2.QuarantineDetails | None = present.get("quarantine_details")
    return ExecutionDescription(
        execution_arn=message.execution_arn,
        execution_name=message.execution_name,
        function_name=message.function_name,
        status=message.status,
        started_at=read_time(message.start_timestamp),
        ended_at=_optional_time(present, "end_timestamp"),
        input_text=present.get("input"),
        result_text=present.get("result"),
        error=_optional_error(present),
        execution_timeout_s=message.execution_timeout_seconds,
        retention_days=message.retention_days,
        deadline_at=_optional_time(present, "execution_deadline_timestamp"),
        open_callbacks=tuple(read_open_callback(each) for each in message.open_callbacks),
        # A server of an earlier release shows all of them, and no count.
        open_callback_count=max(message.open_callback_count, len(message.open_callbacks)),
        pause=_read_pause(message.pause_details) if "pause_details" in present else None,
        event_count=message.event_count,
        waiting_for=message.waiting_for,
        next_timer_at=_optional_time(present, "next_timer_timestamp"),
        consecutive_invocation_failures=message.consecutive_invocation_failures,
        quarantine_reason=quarantine.reason if quarantine is not None else None,
        quarantined_at=read_time(quarantine.quarantine_timestamp) if quarantine else None,
        wire=message,
    )


def read_summary(message: model_pb2.ExecutionSummary) -> ExecutionSummary:
    """Read one execution of a list."""
    return ExecutionSummary(
        execution_arn=message.execution_arn,
        execution_name=message.execution_name,
        function_name=message.function_name,
        status=message.status,
        started_at=read_time(message.start_timestamp),
        ended_at=_optional_time(_present(message), "end_timestamp"),
        diverged=message.diverged,
        quarantine_reason=_present(message).get("quarantine_reason"),
        wire=message,
    )


def read_event(message: model_pb2.Event) -> HistoryEvent:
    """Read one event."""
    present = _present(message)
    return HistoryEvent(
        event_id=message.event_id,
        event_type=message.event_type,
        at=read_time(message.event_timestamp),
        operation_id=present.get("id"),
        parent_id=present.get("parent_id"),
        name=present.get("name"),
        sub_type=present.get("sub_type"),
        input_text=present.get("input"),
        result_text=present.get("result"),
        error=_optional_error(present),
        retry=_read_retry(message.retry_details) if "retry_details" in present else None,
        callback_id=present.get("callback_id"),
        wire=message,
    )


def read_function(message: client_pb2.Function) -> FunctionDescription:
    """Read one function."""
    return FunctionDescription(
        function_name=message.function_name,
        execution_timeout_s=message.execution_timeout_seconds,
        retention_days=message.retention_days,
        durable=message.durable,
        workers_connected=message.workers_connected,
        wire=message,
    )


def read_quarantined(message: client_pb2.QuarantinedItem) -> QuarantinedItem:
    """Return what this message says is set aside."""
    return QuarantinedItem(
        kind=message.kind,
        place=message.place,
        reason=message.reason,
        quarantined_at=read_time(message.quarantine_timestamp),
        execution_arn=_present(message).get("execution_arn"),
        wire=message,
    )


def read_stored_row(message: client_pb2.StoredRow) -> StoredRow:
    """Return the row of this message."""
    columns: dict[str, int | float | str | bytes | None] = {}
    for column in message.columns:
        kind = column.WhichOneof("value")
        columns[column.name] = None if kind is None else getattr(column, kind)
    return StoredRow(table=message.table, columns=columns)


def read_open_callback(message: model_pb2.OpenCallback) -> OpenCallback:
    """Return the open callback of this message."""
    present = _present(message)
    return OpenCallback(
        callback_id=message.callback_id,
        operation_id=message.operation_id,
        name=present.get("name"),
        started_at=read_time(message.start_timestamp),
        due_at=_optional_time(present, "due_timestamp"),
        wire=message,
    )


def read_time(timestamp: Timestamp) -> datetime:
    """Return a timestamp as an aware datetime."""
    return timestamp.ToDatetime(tzinfo=UTC)


def _present(message: Message) -> Mapping[str, Any]:
    """Return the fields that are set. Only this distinguishes absent and empty payloads."""
    return {descriptor.name: value for descriptor, value in message.ListFields()}


def _optional_time(present: Mapping[str, Any], name: str) -> datetime | None:
    timestamp = present.get(name)
    return None if timestamp is None else read_time(timestamp)


def _optional_error(present: Mapping[str, Any]) -> ErrorDescription | None:
    error = present.get("error")
    return None if error is None else _read_error(error)


def _read_error(message: model_pb2.ErrorObject) -> ErrorDescription:
    present = _present(message)
    return ErrorDescription(
        error_type=present.get("error_type"),
        error_message=present.get("error_message"),
        error_data=present.get("error_data"),
        stack_trace=tuple(message.stack_trace),
    )


def _read_pause(message: model_pb2.PauseDetails) -> PauseDescription:
    return PauseDescription(
        requested_at=read_time(message.pause_request_timestamp),
        reason=message.reason if message.HasField("reason") else None,
        execution_timeout_paused=message.execution_timeout_paused,
        diverged=message.diverged,
    )


def _read_retry(message: model_pb2.RetryDetails) -> RetryDescription:
    delayed = message.HasField("next_attempt_delay_ms")
    return RetryDescription(
        attempt=message.current_attempt,
        next_attempt_delay_ms=message.next_attempt_delay_ms if delayed else None,
    )
