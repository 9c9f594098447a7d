"""The rules of wait_for_callback: a callback, a step that submits its id, and the result.

They run in a child context; errors are raised as if there were none.
"""

from collections.abc import Callable
from typing import Any

from perdure.context.branch_serdes import EXTENDED_TYPES
from perdure.context.handles import CallbackHandle
from perdure.exceptions import (
    CallbackError,
    CallbackSubmitterError,
    ChildContextError,
    DurableOperationError,
    StepError,
    qualified_name,
)
from perdure.operations.program import Program
from perdure.primitives.bound_function import matching_kind
from perdure.primitives.operation_contexts import StepContext, WaitForCallbackContext
from perdure.serdes.serializers import SerDes, SerDesContext
from perdure.settings.operations import CallbackConfig, StepConfig, WaitForCallbackConfig

CreateCallback = Callable[[str | None, CallbackConfig | None], tuple[CallbackHandle, Program[str]]]
RunStep = Callable[[Callable[[StepContext], Any], str | None, StepConfig | None], Program[Any]]


def wait_for_callback(
    submitter: Callable[..., Any],
    name: str | None,
    config: WaitForCallbackConfig,
    *,
    create_callback: CreateCallback,
    step: RunStep,
) -> Program[Any]:
    """Create the callback, run the submitter as a step, and return the result."""
    prefix = f"{name} " if name else ""
    callback_config = CallbackConfig(
        timeout=config.timeout,
        heartbeat_timeout=config.heartbeat_timeout,
        serdes=config.serdes,
        sub_type=config.sub_type,
    )
    serdes = None if config.serdes is None else _SubmissionSerDes(config.serdes)
    step_config = StepConfig(retry_strategy=config.retry_strategy, serdes=serdes)
    created, creation = create_callback(f"{prefix}create callback id", callback_config)
    callback_id = yield from creation

    def submit(step_context: StepContext) -> Any:
        inner = WaitForCallbackContext(step_context.logger, step_context.idempotency_key)
        return submitter(callback_id, inner)

    yield from step(matching_kind(submitter, submit), f"{prefix}submitter", step_config)
    return (yield from created.result())


class _SubmissionSerDes(SerDes[Any]):
    """Writes what a submitter returns, which is never read again.

    The serdes of the operation is made for what comes from outside, so None is not passed to it.
    """

    def __init__(self, serdes: SerDes[Any]) -> None:
        self._serdes = serdes

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        if value is None:
            return EXTENDED_TYPES.serialize(None, serdes_context)
        return self._serdes.serialize(value, serdes_context)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> None:
        """Return None, whichever serdes has written it."""
        del data, serdes_context


def unwrap_submission_error(program: Program[Any]) -> Program[Any]:
    """Run `program`, and raise its errors without the `ChildContextError` around them."""
    try:
        return (yield from program)
    except ChildContextError as error:
        failure = submission_error(error)
    raise failure


def submission_error(error: ChildContextError) -> DurableOperationError:
    """Return the error that made the child context fail."""
    cause = error.__cause__
    if isinstance(cause, StepError):
        submitter_error = CallbackSubmitterError(
            error.message, qualified_name(CallbackSubmitterError), error.data, error.stack_trace
        )
        submitter_error.__cause__ = cause
        return submitter_error
    return cause if isinstance(cause, CallbackError) else error
