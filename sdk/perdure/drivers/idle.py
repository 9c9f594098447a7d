"""Idle detection: which tasks are blocked on tasks and durable operations of their invocation.

A task is blocked when it awaits a durable operation, another task (awaited, gathered, shielded, in
a TaskGroup or by `asyncio.wait`), or one of asyncio's own queues and locks. Anything else (a timer,
a socket, a thread, a future of unknown origin) is work that goes on.

asyncio does not expose what a task awaits, so this inspects private attributes: the future that the
task awaits, and the innermost coroutine that awaits it.
"""

import asyncio
from collections.abc import Collection
from types import CodeType
from typing import Any, Final

from perdure.primitives.context_variables import entered_coroutine

_WAITING_FUNCTIONS: Final = (
    *("Queue.get", "Queue.put", "Queue.join", "Event.wait", "Lock.acquire", "Condition.wait"),
    *("Semaphore.acquire", "Barrier._block", "TaskGroup.__aexit__", "TaskGroup._aexit"),
)


class DurableFuture(asyncio.Future[None]):
    """A future that is done when a durable operation has changed, or a branch has ended."""


def is_runnable(task: "asyncio.Task[Any]", tasks: Collection["asyncio.Task[Any]"]) -> bool:
    """Return whether `task`, one of `tasks`, will go on without any other of them."""
    awaited: Any = getattr(task, "_fut_waiter", None)
    if awaited is None or awaited.done():
        return True
    if _is_blocked_on(awaited, tasks):
        return False
    innermost = _innermost(task.get_coro())
    code = getattr(innermost, "cr_code", None)
    if code is _WAIT_FOR_CODE:
        return not _is_blocked_on(innermost.cr_frame.f_locals["fut"], tasks)
    return code not in _WAITING_CODE


def _is_blocked_on(awaited: Any, tasks: Collection["asyncio.Task[Any]"]) -> bool:
    """Return whether only `tasks`, or durable operations, can complete a future."""
    if isinstance(awaited, DurableFuture):
        return True
    if isinstance(awaited, asyncio.Task):
        return awaited in tasks
    parts = getattr(awaited, "_children", None) or _shielded(awaited)
    return bool(parts) and all(part.done() or _is_blocked_on(part, tasks) for part in parts)


def _shielded(outer: Any) -> list[Any]:
    for callback, _ in getattr(outer, "_callbacks", None) or ():
        if getattr(callback, "__qualname__", "") == "shield.<locals>._outer_done_callback":
            names = callback.__code__.co_freevars
            return [callback.__closure__[names.index("inner")].cell_contents]
    return []


def _innermost(coro: Any) -> Any:
    """Return the coroutine, or generator, that awaits no other one."""
    while True:
        inner = (
            getattr(coro, "cr_await", None)
            or getattr(coro, "gi_yieldfrom", None)
            or entered_coroutine(coro)
        )
        if not hasattr(inner, "cr_code") and not hasattr(inner, "gi_code"):
            return coro
        coro = inner


def _codes() -> frozenset[CodeType]:
    found: set[CodeType] = set()
    for path in _WAITING_FUNCTIONS:
        owner, name = path.split(".")
        function = getattr(getattr(asyncio, owner), name, None)
        if function is not None:
            found.add(function.__code__)
    found.add(asyncio.tasks._wait.__code__)  # type: ignore[attr-defined]  # noqa: SLF001
    return frozenset(found)


_WAITING_CODE: Final = _codes()
_WAIT_FOR_CODE: Final = asyncio.wait_for.__code__
