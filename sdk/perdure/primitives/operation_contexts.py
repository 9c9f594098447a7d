"""What user code is handed, and the shape of what it may hand in."""

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
    """What a logger given to `set_logger` must do; `logging.Logger` does."""

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
    """What the context of a step asks about its attempt."""

    @property
    def cancelled(self) -> bool: ...
    @property
    def heartbeat_details(self) -> Any: ...
    def raise_if_cancelled(self) -> None: ...
    def heartbeat(self, details: Any) -> None: ...


class _Uncontrolled:
    """The attempt of a context that a test has made: nobody cancels it."""

    cancelled = False
    heartbeat_details: Any = None

    def raise_if_cancelled(self) -> None:
        """Do nothing."""

    def heartbeat(self, details: Any) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class OperationContext:
    """What every body of an operation gets: a logger that names the operation."""

    logger: LoggerInterface


@dataclass(frozen=True)
class StepContext(OperationContext):
    """What a step's body gets. `attempt` is the number of this attempt, from 1.

    `idempotency_key` is the same in every attempt, replay and crash, and no other operation of any
    execution has it: 64 characters of [0-9a-f], the BLAKE2b hash of the execution's ARN and the
    operation's id. Send it with what must happen once.
    """

    attempt: int
    idempotency_key: str = ""
    control: AttemptControl = field(default=_Uncontrolled(), repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this body any more, whatever it will return.

        Its time is over, its branch was abandoned, or its execution has ended, runs elsewhere, or
        is handed back by a worker that stops. Long bodies look at it now and then, from any thread.
        """
        return self.control.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise `StepCancelledError`, which passes `except Exception`, if it is `cancelled`."""
        self.control.raise_if_cancelled()

    @property
    def heartbeat_details(self) -> Any:
        """What the last heartbeat said that was recorded before this body began; None if none was.

        By the attempt before this one, or by this one before its worker was lost.
        """
        return self.control.heartbeat_details

    def heartbeat(self, details: Any = None) -> None:
        """Give a sign of life, from any thread; `details` tell the next attempt how far it came.

        They are JSON, as `ExtendedTypeSerDes` writes it, of at most 8,192 bytes, else
        `ValidationError`. Call it as often as you like: the first is recorded at once, then the
        newest of every 5 s at most, and the last one with a failure. See `heartbeat_details`.
        """
        self.control.heartbeat(details)


@dataclass(frozen=True)
class WaitForCallbackContext(OperationContext):
    """What the submitter of `wait_for_callback` gets: `idempotency_key` as in `StepContext`."""

    idempotency_key: str = ""


@dataclass(frozen=True)
class WaitForConditionCheckContext(OperationContext):
    """What the check of `wait_for_condition` gets. `attempt` is the number of this one, from 1.

    `idempotency_key`, as in `StepContext`, is the same for all checks of one condition.
    """

    attempt: int
    idempotency_key: str = ""


class SummaryGenerator(Protocol[T_contra]):
    """Says in few words, for the history, what a result is that is too large to be kept."""

    def __call__(self, result: T_contra, /) -> str: ...


@dataclass(frozen=True)
class DurableExecutionArn:
    """What the ARN of an execution tells. `invocation_id` tells executions of one name apart."""

    function_name: str
    execution_name: str
    invocation_id: str

    @classmethod
    def from_arn(cls, arn: str) -> "DurableExecutionArn | None":
        """Read an ARN; None if it is not one of an execution."""
        known = _EXECUTION_ARN.fullmatch(arn)
        return None if known is None else cls(*known.groups())


class Callback(Protocol):
    """A promise that somebody outside keeps."""

    @property
    def callback_id(self) -> str:
        """The secret that completes the callback; whoever holds it may do so once."""
        ...

    def result(self) -> Any:
        """Return the result, suspending until there is one.

        Raises `CallbackExternalError` when it was completed as failed, `CallbackTimeoutError` when
        nobody completed it, or gave a sign of life, in time.
        """
        ...
