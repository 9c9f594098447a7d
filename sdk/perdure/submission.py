"""What `wait_for_callback` is made of: a callback, a step that hands its id out, the result.

It runs in a child context; its errors come out as if it did not.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.config import CallbackConfig, StepConfig, WaitForCallbackConfig
from perdure.exceptions import (
    CallbackError,
    CallbackSubmitterError,
    ChildContextError,
    DurableOperationError,
    StepError,
    qualified_name,
)
from perdure.types import StepContext, WaitForCallbackContext

if TYPE_CHECKING:
    from perdure.context import DurableContext


def submission(
    submitter: Callable[[str, WaitForCallbackContext], Any],
    name: str | None,
    config: WaitForCallbackConfig,
) -> "Callable[[DurableContext], Any]":
    """Return the body of the child context."""
    prefix = f"{name} " if name else ""
    callback_config = CallbackConfig(
        timeout=config.timeout,
        heartbeat_timeout=config.heartbeat_timeout,
        serdes=config.serdes,
        sub_type=config.sub_type,
    )
    step_config = StepConfig(retry_strategy=config.retry_strategy, serdes=config.serdes)

    def body(context: "DurableContext") -> Any:
        callback = context.create_callback(f"{prefix}create callback id", callback_config)

        def submit(step_context: StepContext) -> Any:
            return submitter(callback.callback_id, WaitForCallbackContext(step_context.logger))

        context.step(submit, f"{prefix}submitter", step_config)
        return callback.result()

    return body


def submission_error(error: ChildContextError) -> DurableOperationError:
    """Return what the failure of the child context stands for."""
    cause = error.__cause__
    if isinstance(cause, StepError):
        submitter_error = CallbackSubmitterError(
            error.message, qualified_name(CallbackSubmitterError), error.data, error.stack_trace
        )
        submitter_error.__cause__ = cause
        return submitter_error
    return cause if isinstance(cause, CallbackError) else error
