"""Programs of the client's calls with one answer: the request, and how to read the answer.

`perdure.client.flows` defines programs, and holds those that wait: start, wait, run, follow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from perdure.client.flows import ClientEnvironment, Program, call
from perdure.client.models import (
    ExecutionDescription,
    ExecutionSummary,
    FunctionDescription,
    HistoryEvent,
    OpenCallback,
    QuarantinedItem,
    StoredRow,
    read_event,
    read_execution,
    read_function,
    read_open_callback,
    read_quarantined,
    read_stored_row,
    read_summary,
    read_time,
)
from perdure.client.requests import RegistrableFunction, payload_text, registration_request
from perdure_proto.v1 import client_pb2, model_pb2

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list; the last one has an empty marker."""

    items: tuple[_Item, ...]
    next_marker: str


def get(
    environment: ClientEnvironment, execution_arn: str, *, include_data: bool
) -> Program[ExecutionDescription]:
    """Return one execution as it is now."""
    request = client_pb2.GetExecutionRequest(
        execution_arn=execution_arn, exclude_execution_data=not include_data
    )
    return read_execution((yield from call(environment, request, model_pb2.Execution)))


def history_page(
    environment: ClientEnvironment,
    execution_arn: str,
    *,
    newest_first: bool,
    page_items: int,
    marker: str,
    include_data: bool,
) -> Program[Page[HistoryEvent]]:
    """Return one page of a history."""
    request = client_pb2.GetExecutionHistoryRequest(
        execution_arn=execution_arn,
        max_items=page_items,
        marker=marker,
        reverse_order=newest_first,
        exclude_execution_data=not include_data,
    )
    answer = yield from call(environment, request, client_pb2.GetExecutionHistoryResponse)
    return Page(tuple(read_event(each) for each in answer.events), answer.next_marker)


def open_callback_page(
    environment: ClientEnvironment, execution_arn: str, *, page_items: int, marker: str
) -> Program[Page[OpenCallback]]:
    """Return one page of the open callbacks of an execution."""
    request = client_pb2.ListOpenCallbacksRequest(
        execution_arn=execution_arn, max_items=page_items, marker=marker
    )
    answer = yield from call(environment, request, client_pb2.ListOpenCallbacksResponse)
    items = tuple(read_open_callback(each) for each in answer.open_callbacks)
    return Page(items, answer.next_marker)


def list_page(
    environment: ClientEnvironment, request: client_pb2.ListExecutionsRequest
) -> Program[Page[ExecutionSummary]]:
    """Return one page of executions."""
    answer = yield from call(environment, request, client_pb2.ListExecutionsResponse)
    return Page(tuple(read_summary(each) for each in answer.executions), answer.next_marker)


def quarantined_page(
    environment: ClientEnvironment, *, page_items: int, marker: str
) -> Program[Page[QuarantinedItem]]:
    """Return one page of what the server has set aside."""
    request = client_pb2.ListQuarantinedRequest(max_items=page_items, marker=marker)
    answer = yield from call(environment, request, client_pb2.ListQuarantinedResponse)
    return Page(tuple(read_quarantined(each) for each in answer.items), answer.next_marker)


def stored_row_page(
    environment: ClientEnvironment, execution_arn: str, *, page_items: int, marker: str
) -> Program[Page[StoredRow]]:
    """Return one page of the rows of an execution, as they are stored."""
    request = client_pb2.ListStoredRowsRequest(
        execution_arn=execution_arn, max_items=page_items, marker=marker
    )
    answer = yield from call(environment, request, client_pb2.ListStoredRowsResponse)
    return Page(tuple(read_stored_row(each) for each in answer.rows), answer.next_marker)


def stop(
    environment: ClientEnvironment, execution_arn: str, error: model_pb2.ErrorObject | None
) -> Program[datetime]:
    """Stop an execution; return when it ended, which may have been before."""
    request = client_pb2.StopExecutionRequest(execution_arn=execution_arn, error=error)
    answer = yield from call(environment, request, client_pb2.StopExecutionResponse)
    return read_time(answer.stop_timestamp)


def pause(
    environment: ClientEnvironment,
    execution_arn: str,
    reason: str | None,
    *,
    execution_timeout_paused: bool,
) -> Program[str]:
    """Pause an execution; return PAUSING or PAUSED."""
    request = client_pb2.PauseExecutionRequest(
        execution_arn=execution_arn,
        reason=reason,
        execution_timeout_paused=execution_timeout_paused,
    )
    return (yield from call(environment, request, client_pb2.PauseExecutionResponse)).status


def resume(environment: ClientEnvironment, execution_arn: str, reason: str | None) -> Program[str]:
    """End a pause; return the status."""
    request = client_pb2.ResumeExecutionRequest(execution_arn=execution_arn, reason=reason)
    return (yield from call(environment, request, client_pb2.ResumeExecutionResponse)).status


def delete(environment: ClientEnvironment, execution_arn: str) -> Program[datetime]:
    """Delete an execution that has ended; return when this was requested first."""
    request = client_pb2.DeleteExecutionRequest(execution_arn=execution_arn)
    answer = yield from call(environment, request, client_pb2.DeleteExecutionResponse)
    return read_time(answer.deletion_request_timestamp)


def list_functions(environment: ClientEnvironment) -> Program[tuple[FunctionDescription, ...]]:
    """Return the functions that workers have registered."""
    request = client_pb2.ListFunctionsRequest()
    answer = yield from call(environment, request, client_pb2.ListFunctionsResponse)
    return tuple(read_function(each) for each in answer.functions)


def register_functions(
    environment: ClientEnvironment, functions: Iterable[RegistrableFunction]
) -> Program[None]:
    """Register functions before there is a worker that serves them."""
    request = registration_request(functions)
    yield from call(environment, request, client_pb2.RegisterFunctionsResponse)


def succeed_callback(
    environment: ClientEnvironment, callback_id: str, result: Any, result_text: str | None
) -> Program[None]:
    """Complete a callback with a result."""
    request = client_pb2.SucceedCallbackRequest(
        callback_id=callback_id, result=payload_text(result, result_text)
    )
    yield from call(environment, request, client_pb2.SucceedCallbackResponse)


def fail_callback(
    environment: ClientEnvironment, callback_id: str, error: model_pb2.ErrorObject | None
) -> Program[None]:
    """Complete a callback with an error."""
    request = client_pb2.FailCallbackRequest(callback_id=callback_id, error=error)
    yield from call(environment, request, client_pb2.FailCallbackResponse)


def heartbeat_callback(environment: ClientEnvironment, callback_id: str) -> Program[None]:
    """Restart the heartbeat timeout of a callback."""
    request = client_pb2.HeartbeatCallbackRequest(callback_id=callback_id)
    yield from call(environment, request, client_pb2.HeartbeatCallbackResponse)
