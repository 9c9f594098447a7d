"""Whether a task can move by itself, or waits for what others of its invocation do.

A task does not move when it waits for something durable, for another task (awaited, gathered,
shielded, in a TaskGroup or by `asyncio.wait`), or in one of asyncio's own queues and locks.
Anything else (a timer, a socket, a thread, a future of unknown origin) is work that goes on.

asyncio does not tell what a task waits for, so this looks inside: at the future that the task
waits for, and at the innermost coroutine that waits for it.
"""

import asyncio
from collections.abc import Collection
from types import CodeType
from typing import Any, Final

_WAITING_FUNCTIONS: Final = (
    *("Queue.get", "Queue.put", "Queue.join", "Event.wait", "Lock.acquire", "Condition.wait"),
    *("Semaphore.acquire", "Barrier._block", "TaskGroup.__aexit__", "TaskGroup._aexit"),
)


class DurableFuture(asyncio.Future[None]):
    """What a task waits for that something durable, or a branch, has to wake."""


def is_runnable(task: "asyncio.Task[Any]", tasks: Collection["asyncio.Task[Any]"]) -> bool:
    """Tell whether `task`, one of `tasks`, will go on without any other of them."""
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
    """Tell whether a future is done only by what the crew does."""
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
        inner = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
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
