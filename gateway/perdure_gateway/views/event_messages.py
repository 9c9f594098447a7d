"""Events of a history in the messages of the contract, named by the classes of the core."""

from typing import Final, Literal

from perdure_core.events import (
    CallbackEvent,
    CallbackFailed,
    CallbackStarted,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeEvent,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextEvent,
    ContextFailed,
    ContextSucceeded,
    Event,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    InvocationCompleted,
    OperationEvent,
    StepEvent,
    StepFailed,
    StepSucceeded,
    WaitCancelled,
    WaitEvent,
    WaitStarted,
    WaitSucceeded,
    is_public,
)
from perdure_core.model import ErrorObject
from perdure_core.payload import Payload, StoredPayload
from perdure_host.codec import error_to_message, timestamp_from_ms
from perdure_host.services import NumberedEvent
from perdure_proto.v1 import model_pb2

_PAYLOADS: Final[tuple[Literal["input", "result", "error"], ...]] = ("input", "result", "error")


def event_to_message(numbered: NumberedEvent, *, exclude_data: bool = False) -> model_pb2.Event:
    """Return the message of a public event, without payloads when asked to leave them out.

    A payload that is kept outside is left out in any case, unless its text was put back before.
    """
    event = numbered.event
    assert is_public(event)
    message = model_pb2.Event(
        event_id=numbered.event_id,
        event_type=type(event).__name__,
        event_timestamp=timestamp_from_ms(numbered.at_ms),
    )
    _write_event(message, event, numbered.at_ms)
    if exclude_data:
        _leave_payloads_out(message)
    return message


def _leave_payloads_out(message: model_pb2.Event) -> None:
    for field in _PAYLOADS:
        if message.HasField(field):
            message.ClearField(field)
            message.truncated = True


def _write_event(message: model_pb2.Event, event: Event, at_ms: int) -> None:
    if isinstance(event, OperationEvent):
        _write_subject(message, event)
    match event:
        case StepEvent():
            _write_step(message, event)
        case WaitEvent():
            _write_wait(message, event)
        case ContextEvent():
            _write_context(message, event)
        case CallbackEvent():
            _write_callback(message, event)
        case ChainedInvokeEvent():
            _write_chained_invoke(message, event)
        case ExecutionPaused() | ExecutionResumed():
            _write_pause(message, event, at_ms)
        case ExecutionEvent():
            _write_execution(message, event)


def _write_subject(message: model_pb2.Event, event: OperationEvent) -> None:
    subject = event.subject
    message.id = subject.id
    if subject.name is not None:
        message.name = subject.name
    if subject.sub_type is not None:
        message.sub_type = subject.sub_type
    if subject.parent_id is not None:
        message.parent_id = subject.parent_id


def _write_execution(message: model_pb2.Event, event: ExecutionEvent) -> None:
    match event:
        case ExecutionStarted():
            _write_input(message, event.input)
            message.execution_timeout_seconds = event.timeout_s
        case ExecutionSucceeded():
            _write_result(message, event.result)
        case ExecutionFailed() | ExecutionTimedOut() | ExecutionStopped():
            _write_error(message, event.error)
        case InvocationCompleted():
            message.request_id = event.invocation_id
            message.invocation_start_timestamp.CopyFrom(timestamp_from_ms(event.started_ms))
            _write_error(message, event.error)
        case _:
            pass


def _write_pause(
    message: model_pb2.Event, event: ExecutionPaused | ExecutionResumed, at_ms: int
) -> None:
    if event.reason is not None:
        message.reason = event.reason
    if isinstance(event, ExecutionPaused):
        message.request_timestamp.CopyFrom(timestamp_from_ms(event.requested_ms))
        message.execution_timeout_paused = event.timeout_paused
        if event.diverged:
            message.diverged = True
    else:
        message.request_timestamp.CopyFrom(timestamp_from_ms(at_ms))


def _write_context(message: model_pb2.Event, event: ContextEvent) -> None:
    match event:
        case ContextSucceeded():
            _write_result(message, event.result)
            if event.replay_children:
                message.replay_children = True
        case ContextFailed():
            _write_error(message, event.error)
        case _:
            pass


def _write_step(message: model_pb2.Event, event: StepEvent) -> None:
    if not isinstance(event, StepSucceeded | StepFailed):
        return
    message.retry_details.current_attempt = event.attempt
    if event.next_attempt_delay_ms is not None:
        message.retry_details.next_attempt_delay_ms = event.next_attempt_delay_ms
    if isinstance(event, StepSucceeded):
        _write_result(message, event.result)
    else:
        _write_error(message, event.error)


def _write_wait(message: model_pb2.Event, event: WaitEvent) -> None:
    match event:
        case WaitStarted():
            message.duration_ms = event.duration_ms
            message.scheduled_end_timestamp.CopyFrom(timestamp_from_ms(event.scheduled_end_ms))
        case WaitSucceeded():
            message.duration_ms = event.duration_ms
        case WaitCancelled():
            _write_error(message, event.error)
        case _:
            pass


def _write_callback(message: model_pb2.Event, event: CallbackEvent) -> None:
    match event:
        case CallbackStarted():
            message.callback_id = event.callback_id
            message.timeout_seconds = event.timeout_s
            message.heartbeat_timeout_seconds = event.heartbeat_timeout_s
        case CallbackSucceeded():
            _write_result(message, event.result)
        case CallbackFailed() | CallbackTimedOut():
            _write_error(message, event.error)
        case _:
            pass


def _write_chained_invoke(message: model_pb2.Event, event: ChainedInvokeEvent) -> None:
    match event:
        case ChainedInvokeStarted():
            _write_input(message, event.input)
            message.function_name = event.function
            if event.execution_arn is not None:
                message.execution_arn = event.execution_arn
            if event.tenant_id is not None:
                message.tenant_id = event.tenant_id
        case ChainedInvokeSucceeded():
            _write_result(message, event.result)
        case ChainedInvokeFailed() | ChainedInvokeTimedOut() | ChainedInvokeStopped():
            _write_error(message, event.error)
        case _:
            pass


def _write_input(message: model_pb2.Event, payload: Payload | None) -> None:
    if isinstance(payload, StoredPayload):
        message.truncated = True
    elif payload is not None:
        message.input = payload


def _write_result(message: model_pb2.Event, payload: Payload | None) -> None:
    if isinstance(payload, StoredPayload):
        message.truncated = True
    elif payload is not None:
        message.result = payload


def _write_error(message: model_pb2.Event, error: ErrorObject | None) -> None:
    if error is not None:
        message.error.CopyFrom(error_to_message(error))
