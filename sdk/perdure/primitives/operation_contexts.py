"""Contexts passed to the functions of operations, and protocols of what users pass in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

__all__ = [
    "Callback",
    "DurableExecutionArn",
    "LoggerInterface",
    "OperationContext",
    "StepContext",
    "SummaryGenerator",
    "WaitForCallbackContext",
    "WaitForConditionCheckContext",
]

_EXECUTION_ARN = re.compile(r"arn:.*:function:([^:/]+):[^/]+/durable-execution/([^/]+)/([^/]+)")

T_contra = TypeVar("T_contra", contravariant=True)


class LoggerInterface(Protocol):
    """Protocol of a logger passed to `set_logger`; `logging.Logger` satisfies it."""

    def debug(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None: ...
    def info(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None: ...
    def warning(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None: ...
    def error(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None: ...
    def exception(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None: ...


class AttemptControl(Protocol):
    """Protocol of the attempt behind a step's context."""

    @property
    def cancelled(self) -> bool: ...
    @property
    def heartbeat_details(self) -> Any: ...
    def raise_if_cancelled(self) -> None: ...
    def heartbeat(self, details: Any) -> None: ...


class _Uncontrolled:
    """The attempt of a context that a test created: it is never cancelled."""

    cancelled = False
    heartbeat_details: Any = None

    def raise_if_cancelled(self) -> None:
        """Do nothing."""

    def heartbeat(self, details: Any) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class OperationContext:
    """Context of the body of every operation: a logger that names the operation."""

    logger: LoggerInterface


@dataclass(frozen=True)
class StepContext(OperationContext):
    """Context of a step's body. `attempt` is the number of this attempt, from 1.

    `idempotency_key` is the same in every attempt, replay and crash, and differs from that of every
    other operation: 64 characters of [0-9a-f], the BLAKE2b hash of the execution's ARN and the
    operation's id. Send it with requests that must take effect once.
    """

    attempt: int
    idempotency_key: str = ""
    control: AttemptControl = field(default=_Uncontrolled(), repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """True if the result of this body is no longer needed.

        The attempt timed out or ended, its branch was cancelled, or its execution has ended, runs
        elsewhere, or is handed back by a worker that stops. Long bodies check it regularly, from
        any thread.
        """
        return self.control.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise `StepCancelledError`, which passes `except Exception`, if it is `cancelled`."""
        self.control.raise_if_cancelled()

    @property
    def heartbeat_details(self) -> Any:
        """Details of the last heartbeat recorded before this body started; None if there is none.

        From the previous attempt, or from this one before its worker was lost.
        """
        return self.control.heartbeat_details

    def heartbeat(self, details: Any = None) -> None:
        """Send a heartbeat, from any thread; `details` tell the next attempt how far this one came.

        They are JSON, as `ExtendedTypeSerDes` writes it, of at most 8,192 bytes, else
        `ValidationError`. It may be called often: the first heartbeat is recorded at once, then at
        most the newest of every 5 s, and the last one with a failure. See `heartbeat_details`.
        Raises `StepCancelledError` in a thread that outlives the invocation.
        """
        self.control.heartbeat(details)


@dataclass(frozen=True)
class WaitForCallbackContext(OperationContext):
    """Context of the submitter of `wait_for_callback`: `idempotency_key` as in `StepContext`."""

    idempotency_key: str = ""


@dataclass(frozen=True)
class WaitForConditionCheckContext(OperationContext):
    """Context of the check of `wait_for_condition`. `attempt` counts the checks, from 1.

    `idempotency_key`, as in `StepContext`, is the same for all checks of one condition.
    """

    attempt: int
    idempotency_key: str = ""


class SummaryGenerator(Protocol[T_contra]):
    """Protocol of a function that summarizes, for the history, a result too large to record."""

    def __call__(self, result: T_contra, /) -> str: ...


@dataclass(frozen=True)
class DurableExecutionArn:
    """Parts of an execution's ARN. `invocation_id` distinguishes executions of the same name."""

    function_name: str
    execution_name: str
    invocation_id: str

    @classmethod
    def from_arn(cls, arn: str) -> "DurableExecutionArn | None":
        """Parse an ARN; return None if it is not that of an execution."""
        known = _EXECUTION_ARN.fullmatch(arn)
        return None if known is None else cls(*known.groups())


class Callback(Protocol):
    """A promise that is completed from outside the execution."""

    @property
    def callback_id(self) -> str:
        """The secret that completes the callback, once."""
        ...

    def result(self) -> Any:
        """Return the result, suspending until there is one.

        Raises `CallbackExternalError` when it was completed as failed, `CallbackTimeoutError` when
        it was not completed, or received no heartbeat, in time.
        """
        ...
