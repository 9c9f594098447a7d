"""Event loop of async handlers, which attributes work to the invocations that run on it.

Many invocations may share it. Whatever is scheduled in the context of one of them is reported to
its `TaskSupervisor`; when a whole round of the loop passes without a report, the invocation may be
idle.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, Unpack, cast

from perdure.primitives.forked_process import ForkGuard

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The longest time for cleaning up a loop before it is closed.
CLEAN_S_MAX: Final = 2.0


class LoopListener(Protocol):
    """Receives what the loop does for one invocation."""

    def note_activity(self) -> None:
        """Note that a callback of the invocation was scheduled."""
        ...

    def add_task(self, task: "asyncio.Task[Any]") -> None:
        """Add a task of the invocation, which was just created."""
        ...

    def track_thread(self, future: "asyncio.Future[Any]") -> None:
        """Count a thread that works for the invocation until `future` is done."""
        ...


current_supervisor: ContextVar[LoopListener | None] = ContextVar("perdure_supervisor", default=None)


class HandlerLoop(asyncio.SelectorEventLoop):
    """A loop on which `run_invocation_async` can run."""

    def __init__(self) -> None:
        super().__init__()
        self._untracked_context = Context()
        self._round = ForkGuard()

    def _run_once(self) -> None:
        """Run one round; a process that was forked in it, and came back, ends with it."""
        with self._round:
            super()._run_once()  # type: ignore[misc] # not part of the published types

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback, and notify the supervisor of its context."""
        supervisor = (
            current_supervisor.get() if context is None else context.get(current_supervisor)
        )
        if supervisor is not None:
            supervisor.note_activity()
        return super().call_soon(callback, *args, context=context)

    def call_soon_untracked(self, callback: Callable[[], object]) -> None:
        """Schedule a callback for the next round without notifying a supervisor."""
        super().call_soon(callback, context=self._untracked_context)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> "asyncio.Task[T]":
        """Make a task, and add it to the supervisor of the context that makes it."""
        supervisor = (
            current_supervisor.get() if context is None else context.get(current_supervisor)
        )
        task = super().create_task(coro, name=cast("str | None", name), context=context, **options)
        if supervisor is not None:
            supervisor.add_task(task)
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        """Run in a thread, which counts as work of the invocation that calls this."""
        future = super().run_in_executor(executor, func, *args)
        supervisor = current_supervisor.get()
        if supervisor is not None:
            supervisor.track_thread(future)
        return future


def run_to_end(loop: HandlerLoop, coro: Coroutine[Any, Any, T]) -> T:
    """Run `coro` on a loop that does not run yet; go on after an exit of another task.

    On the main thread a `KeyboardInterrupt` is that of a person, and raised.
    """
    task = loop.create_task(coro)
    while True:
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit) as error:
            # asyncio raises them from any task; here they end only the task that raised them.
            pressed = threading.current_thread() is threading.main_thread()
            if task.done() or (pressed and isinstance(error, KeyboardInterrupt)):
                raise


def close_loop(loop: HandlerLoop, invocations: "Collection[asyncio.Task[None]]" = ()) -> None:
    """Cancel the tasks left on a loop that does not run, wait a limited time, and close it.

    `invocations` are stopped first: each cancels its own tasks, once.
    """
    with suppress(TimeoutError):
        run_to_end(loop, _clean(loop, invocations))
    loop.close()


async def _clean(loop: HandlerLoop, invocations: "Collection[asyncio.Task[None]]") -> None:
    async with asyncio.timeout(CLEAN_S_MAX):
        await _stop(invocations)
        # Async generators without references are closed by tasks that start just now.
        await asyncio.sleep(0)
        this = asyncio.current_task()
        while left := [task for task in asyncio.all_tasks(loop) if _is_left(task, this)]:
            await _stop(left)
        await loop.shutdown_asyncgens()


async def _stop(tasks: "Collection[asyncio.Task[Any]]") -> None:
    for task in tasks:
        if not task.cancelling():
            task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _is_left(task: "asyncio.Task[Any]", this: "asyncio.Task[Any] | None") -> bool:
    """Return whether a task is not being cancelled: a second time would disturb its clean-up."""
    return task is not this and not task.cancelling()
