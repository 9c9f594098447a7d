"""Copies of context variables, one for each body of user code.

A body reads what was set around it, and what it sets is gone when it ends: a replay does not run
the body again, and the next execution on the same thread is another one. Must stay true: a
coroutine stays in the task that awaits it, so that whatever asks for the current task gets this
one. asyncio takes a context for whole tasks only, so each step of the coroutine is entered here.
"""

from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from inspect import isawaitable
from types import CodeType, coroutine
from typing import Any, Final, TypeVar

from perdure.primitives.forked_process import ForkGuard
from perdure.primitives.user_code import RaisedByUserCode, call_user_code

T = TypeVar("T")


def call_in_copy(body: Callable[[], T]) -> T:
    """Call `body` with a copy of the context variables."""
    with ForkGuard():
        return copy_context().run(body)


@coroutine
def await_in_copy(body: Callable[[], Any]) -> Generator[Any, Any, Any]:
    """Call `body` with a copy of the context variables, and await what it returns there."""
    run = copy_context().run
    inner = _called(body)
    resume: Callable[[Any], Any] = inner.send
    value: Any = None
    while True:
        try:
            with ForkGuard():
                awaited = run(resume, value)
        except StopIteration as stop:
            return stop.value
        except GeneratorExit as error:
            if value is error:  # this is closed from outside
                raise
            raise RaisedByUserCode(error) from None
        try:
            value = yield awaited
            resume = inner.send
        except BaseException as error:  # noqa: BLE001 - the coroutine decides what it means
            resume, value = inner.throw, error


_AWAIT_IN_COPY_CODE: Final[CodeType] = await_in_copy.__code__


def entered_coroutine(awaitable: Any) -> Any:
    """Return the coroutine that `await_in_copy` enters; None for anything else."""
    if getattr(awaitable, "gi_code", None) is not _AWAIT_IN_COPY_CODE:
        return None
    frame = awaitable.gi_frame
    return None if frame is None else frame.f_locals.get("inner")


async def _called(body: Callable[[], Any]) -> Any:
    """Call `body`, and return what it returns, or what that yields when it is awaited."""
    value: Any | Awaitable[Any] = call_user_code(body)
    return await value if isawaitable(value) else value
