"""Request bodies of the Lambda API, as structs of the model, and their conversion to the core's.

Unknown members are ignored, as clients expect of a service.
"""

from typing import Literal

import msgspec

from perdure_core.model import ErrorObject, OperationAction, OperationType, OperationUpdate
from perdure_core.validation import bounded_error
from perdure_host.lambda_json.fields import present
from perdure_host.lambda_json.names import target_name


class ErrorShape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """ErrorObject."""

    error_message: str | None = None
    error_type: str | None = None
    error_data: str | None = None
    stack_trace: tuple[str, ...] | None = None

    def to_core(self) -> ErrorObject:
        """Return the error as a struct of the core."""
        return ErrorObject(
            self.error_message, self.error_type, self.error_data, self.stack_trace or ()
        )


class ContextOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """ContextOptions."""

    replay_children: bool | None = None


class StepOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """StepOptions."""

    next_attempt_delay_seconds: int | None = None


class WaitOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """WaitOptions."""

    wait_seconds: int | None = None


class CallbackOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """CallbackOptions."""

    timeout_seconds: int | None = None
    heartbeat_timeout_seconds: int | None = None


class ChainedInvokeOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """ChainedInvokeOptions."""

    function_name: str
    tenant_id: str | None = None
    x_amzn_trace_id: str | None = None


class UpdateShape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """OperationUpdate."""

    id: str
    type: OperationType
    # Without HEARTBEAT, which is not in the model.
    action: Literal["START", "SUCCEED", "FAIL", "RETRY", "CANCEL"]
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    payload: str | None = None
    error: ErrorShape | None = None
    context_options: ContextOptions | None = None
    step_options: StepOptions | None = None
    wait_options: WaitOptions | None = None
    callback_options: CallbackOptions | None = None
    chained_invoke_options: ChainedInvokeOptions | None = None

    def to_core(self) -> OperationUpdate:
        """Return the update as a struct of the core. Raises Invalid.

        The error with which an execution ends is cut to its limit: if refused, it would be lost.
        """
        error = None if self.error is None else self.error.to_core()
        if error is not None and self.type is OperationType.EXECUTION:
            error = bounded_error(error)
        callback = self.callback_options or CallbackOptions()
        chained = self.chained_invoke_options
        return OperationUpdate(
            id=self.id,
            type=self.type,
            action=OperationAction(self.action),
            parent_id=self.parent_id,
            name=self.name,
            sub_type=self.sub_type,
            payload=self.payload,
            error=error,
            replay_children=bool(self.context_options and self.context_options.replay_children),
            next_attempt_delay_ms=None
            if self.step_options is None
            else _milliseconds(self.step_options.next_attempt_delay_seconds),
            wait_ms=None
            if self.wait_options is None
            else _milliseconds(self.wait_options.wait_seconds),
            timeout_s=callback.timeout_seconds or 0,
            heartbeat_timeout_s=callback.heartbeat_timeout_seconds or 0,
            function=None if chained is None else target_name(chained.function_name),
            tenant_id=None if chained is None else chained.tenant_id,
            trace_header=None if chained is None else chained.x_amzn_trace_id,
        )


class CheckpointShape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The body of CheckpointDurableExecution."""

    checkpoint_token: str
    updates: tuple[UpdateShape, ...] | None = None
    client_token: str | None = None


def error_json(error: ErrorObject | None) -> dict[str, object] | None:
    """Return an ErrorObject of the model."""
    if error is None:
        return None
    return present(
        ErrorMessage=error.message,
        ErrorType=error.type,
        ErrorData=error.data,
        StackTrace=error.stack_trace or None,
    )


def _milliseconds(value_s: int | None) -> int | None:
    return None if value_s is None else value_s * 1_000
