"""What user code raises, kept apart from control flow until it is recorded.

Handlers, steps and children may raise anything: `SystemExit`, a `CancelledError` that was not
requested, `StopIteration`, exceptions of their own below `BaseException`. Between the call and the
record lie generators, coroutines and tasks, which take some of these for their own. So each call of
user code raises an ordinary exception that carries them.
"""

from asyncio import CancelledError
from collections.abc import Callable
from typing import TypeVar

from perdure.exceptions import OrphanedChildException, StepCancelledError, SuspendExecution

T = TypeVar("T")

_CONTROL_FLOW = (OrphanedChildException, StepCancelledError, SuspendExecution)


class ControlFlow(BaseException):
    """Base class of control flow that is not public."""


class RaisedByUserCode(Exception):
    """Carries what user code raised, where that could be taken for control flow."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def call_user_code(body: Callable[[], T]) -> T:
    """Call `body`; what it raises arrives here, whatever it is."""
    try:
        return body()
    except BaseException as error:
        carrier = carrier_of(error)
        if carrier is error:
            raise
        raise carrier from None


def carrier_of(error: BaseException) -> BaseException:
    """Return what to raise instead of `error`: itself where nothing could take it for another."""
    if isinstance(error, (*_CONTROL_FLOW, ControlFlow)):
        return error
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    return RaisedByUserCode(error)


def raised_error(error: BaseException) -> BaseException:
    """Return what user code raised, of `error` or of what it carries."""
    return error.error if isinstance(error, RaisedByUserCode) else error


def asks_to_stop(error: BaseException) -> bool:
    """Return whether `error` is of those that end a program, such as `SystemExit`."""
    passes = isinstance(error, (Exception, CancelledError, ControlFlow, *_CONTROL_FLOW))
    return not passes


def repr_of(error: BaseException) -> str:
    """Return the representation of an error, whatever its class does."""
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - a broken __repr__ must not hide what was raised
        return type(error).__qualname__
