"""Exceptions of the SDK.

Three families. `DurableOperationError`: an operation failed and handlers may catch it; it is always
built from the record, so a replay raises an equal one. `UnrecoverableError`: the execution or
this invocation cannot go on; catching it changes nothing. And control flow, which derives from
`BaseException` so that `except Exception` in a handler cannot swallow it. The tree is that of the
AWS Lambda durable execution SDK for Python 3.0 (exceptions), as far as its operations exist here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Self

__all__ = [
    "CallbackError",
    "CallbackExternalError",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "ChildContextError",
    "DurableExecutionsError",
    "DurableOperationError",
    "ExecutionError",
    "InvalidStateError",
    "InvocationError",
    "InvokeError",
    "NonDeterministicExecutionError",
    "OrphanedChildException",
    "PluginLoadError",
    "RetryableSerDesError",
    "SerDesError",
    "StepCancelledError",
    "StepError",
    "StepHeartbeatTimeoutError",
    "StepInterruptedError",
    "StepTimeoutError",
    "SuspendExecution",
    "TerminationReason",
    "TimedSuspendExecution",
    "UnrecoverableError",
    "ValidationError",
    "WaitCancelledError",
    "WaitForConditionError",
    "qualified_name",
    "register_operation_error",
]


class TerminationReason(Enum):
    """Reason why an invocation ended before its handler did."""

    UNHANDLED_ERROR = "UNHANDLED_ERROR"
    INVOCATION_ERROR = "INVOCATION_ERROR"
    EXECUTION_ERROR = "EXECUTION_ERROR"
    CHECKPOINT_FAILED = "CHECKPOINT_FAILED"
    NON_DETERMINISTIC_EXECUTION = "NON_DETERMINISTIC_EXECUTION"
    STEP_INTERRUPTED = "STEP_INTERRUPTED"
    SERIALIZATION_ERROR = "SERIALIZATION_ERROR"


class DurableExecutionsError(Exception):
    """Base class of the SDK's exceptions, except for control flow."""


class PluginLoadError(DurableExecutionsError):
    """A plugin factory is invalid or cannot be loaded; the function was not decorated."""


class ValidationError(DurableExecutionsError):
    """An argument is outside its limits; nothing was recorded."""


class InvalidStateError(DurableExecutionsError):
    """The call is not possible in the current state."""


class UnrecoverableError(DurableExecutionsError):
    """The invocation cannot go on; catching it in a handler changes nothing."""

    def __init__(self, message: str, termination_reason: TerminationReason) -> None:
        super().__init__(message)
        self.termination_reason = termination_reason


class ExecutionError(UnrecoverableError):
    """The execution fails without a retry. The body of a step may raise it for that purpose."""

    def __init__(
        self,
        message: str,
        termination_reason: TerminationReason = TerminationReason.EXECUTION_ERROR,
    ) -> None:
        super().__init__(message, termination_reason)


class NonDeterministicExecutionError(ExecutionError):
    """A replay requested a different operation than the one recorded as `step_id`."""

    def __init__(self, message: str, step_id: str | None = None) -> None:
        super().__init__(message, TerminationReason.NON_DETERMINISTIC_EXECUTION)
        self.step_id = step_id


class InvocationError(UnrecoverableError):
    """This invocation failed; the execution is invoked again, and replayed."""

    def __init__(
        self,
        message: str,
        termination_reason: TerminationReason = TerminationReason.INVOCATION_ERROR,
    ) -> None:
        super().__init__(message, termination_reason)

    def is_retryable(self) -> bool:
        """Return whether to invoke again (True) or to fail the execution (False)."""
        return True


class StepInterruptedError(InvocationError):
    """The worker of an at-most-once step was lost while it ran. Passed to its retry strategy."""

    def __init__(self, message: str, step_id: str | None = None) -> None:
        super().__init__(message, TerminationReason.STEP_INTERRUPTED)
        self.step_id = step_id


class StepTimeoutError(DurableExecutionsError, TimeoutError):
    """An attempt of a step took longer than `StepConfig.timeout`. Passed to its retry strategy."""


class StepHeartbeatTimeoutError(StepTimeoutError):
    """An attempt sent no heartbeat for `StepConfig.heartbeat_timeout`."""


class RetryableSerDesError(InvocationError):
    """A value cannot be written or read now, for example because a file system is unavailable."""

    def __init__(
        self,
        message: str,
        termination_reason: TerminationReason = TerminationReason.SERIALIZATION_ERROR,
    ) -> None:
        super().__init__(message, termination_reason)


class _Recorded(DurableExecutionsError):
    def __init__(
        self,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: Sequence[str] | None = None,
    ) -> None:
        super().__init__(message or "")
        self.message = message
        self.error_type = error_type or qualified_name(type(self))
        self.data = data
        self.stack_trace = None if stack_trace is None else list(stack_trace)


class SerDesError(_Recorded):
    """A value can never be written or read. The operation fails with it, without a retry.

    The operation raises it unchanged, on the first run and on replay, also where an invoked
    function or a body failed with it. Subclasses are recorded, and rebuilt, as this class.
    """


class DurableOperationError(_Recorded):
    """An operation failed. `error_type` is the recorded class name of the exception.

    Where none is recorded, it is the name of this class. `__cause__` is rebuilt from the same
    record; the original exception is never kept.
    """

    @classmethod
    def from_error_fields(
        cls,
        error_type: str | None,
        message: str | None,
        data: str | None,
        stack_trace: Sequence[str] | None,
    ) -> "DurableOperationError":
        """Build the class registered under `error_type`, or this general one."""
        error_class = _registered.get(error_type or "", DurableOperationError)
        return error_class.rebuilt(message, error_type, data, stack_trace)

    @classmethod
    def rebuilt(
        cls,
        message: str | None,
        error_type: str | None,
        data: str | None,
        stack_trace: Sequence[str] | None,
    ) -> Self:
        """Build this class from a record. Override it for a constructor with other arguments."""
        return cls(message, error_type, data, stack_trace)


class StepError(DurableOperationError):
    """A step failed, and has no retries left."""


class InvokeError(DurableOperationError):
    """A function that was invoked failed, timed out, was stopped, or does not exist."""


class ChildContextError(DurableOperationError):
    """The body of a child context, of a branch or of an item raised an exception."""


class WaitForConditionError(DurableOperationError):
    """A condition was not met: its check raised an exception, or has no attempts left."""


class WaitCancelledError(DurableOperationError):
    """A created wait was cancelled before its end."""


class CallbackError(DurableOperationError):
    """A callback ended without a result."""


class CallbackExternalError(CallbackError):
    """The callback was completed as failed."""


class CallbackTimeoutError(CallbackError):
    """The callback was not completed, or received no heartbeat, in time."""


class CallbackSubmitterError(CallbackError):
    """The submitter of `wait_for_callback` failed, and has no retries left."""


class OrphanedChildException(BaseException):
    """Control flow: the batch or race around this call is complete without it. Do not catch it."""

    def __init__(self, message: str, operation_id: str) -> None:
        super().__init__(message)
        self.operation_id = operation_id


class StepCancelledError(BaseException):
    """Control flow: the result of this step's body is no longer needed. Clean up and re-raise it.

    Raised by `StepContext.raise_if_cancelled`, and in the thread of a body that has timed out.
    """


class SuspendExecution(BaseException):
    """Control flow: the invocation ends here, the execution continues later. Do not catch it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class TimedSuspendExecution(SuspendExecution):
    """Control flow: as `SuspendExecution`, until `scheduled_timestamp` (seconds since 1970)."""

    def __init__(self, message: str, scheduled_timestamp: float) -> None:
        super().__init__(message)
        self.scheduled_timestamp = scheduled_timestamp

    @classmethod
    def from_delay(cls, message: str, delay_seconds: int) -> Self:
        """Suspend for a number of seconds from now."""
        return cls(message, datetime.now(UTC).timestamp() + delay_seconds)

    @classmethod
    def from_datetime(cls, message: str, datetime_timestamp: datetime) -> Self:
        """Suspend until a point in time; one without a time zone is taken as UTC."""
        if datetime_timestamp.tzinfo is None:
            datetime_timestamp = datetime_timestamp.replace(tzinfo=UTC)
        return cls(message, datetime_timestamp.timestamp())


def qualified_name(error_class: type[BaseException]) -> str:
    """Return the recorded name of an exception: bare for builtins, else with its module.

    A class that has moved says its first name in `__recorded_name__`, since histories outlive
    modules. Classes that derive from it do not inherit that: they have names of their own.
    """
    recorded = vars(error_class).get("__recorded_name__")
    if isinstance(recorded, str):
        return recorded
    if error_class.__module__ == "builtins":
        return error_class.__qualname__
    return f"{error_class.__module__}.{error_class.__qualname__}"


def register_operation_error(error_cls: type[DurableOperationError]) -> None:
    """Register a class to be rebuilt from records of its name, by its constructor of four fields.

    Registering a class twice changes nothing. Raises `ValidationError` for other classes.
    """
    if not issubclass(error_cls, DurableOperationError):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ValidationError(f"{error_cls!r} does not derive from DurableOperationError.")
    _registered[qualified_name(error_cls)] = error_cls


_registered: dict[str, type[DurableOperationError]] = {}
for _error_class in (
    *(StepError, InvokeError, ChildContextError, WaitForConditionError, CallbackError),
    *(CallbackExternalError, CallbackTimeoutError, CallbackSubmitterError),
    WaitCancelledError,
):
    register_operation_error(_error_class)
