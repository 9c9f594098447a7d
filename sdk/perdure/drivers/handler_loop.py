"""Event loop of async handlers, which attributes work to the invocations that run on it.

Many invocations may share it. Whatever is scheduled in the context of one of them is reported to
its `TaskSupervisor`; when a whole round of the loop passes without a report, the invocation may be
idle.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, Unpack, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How long what is left on a loop may take to clean up, before the loop is closed.
CLEAN_S_MAX: Final = 2.0


class LoopListener(Protocol):
    """What the loop tells an invocation about."""

    def note_activity(self) -> None:
        """Something of the invocation has been scheduled."""
        ...

    def add_task(self, task: "asyncio.Task[Any]") -> None:
        """A task of the invocation has been made."""
        ...

    def track_thread(self, future: "asyncio.Future[Any]") -> None:
        """A thread works for the invocation until `future` is done."""
        ...


current_supervisor: ContextVar[LoopListener | None] = ContextVar("perdure_supervisor", default=None)


class HandlerLoop(asyncio.SelectorEventLoop):
    """A loop on which `run_invocation_async` can run."""

    def __init__(self) -> None:
        super().__init__()
        self._untracked_context = Context()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule, and stir whose context it is."""
        supervisor = (
            current_supervisor.get() if context is None else context.get(current_supervisor)
        )
        if supervisor is not None:
            supervisor.note_activity()
        return super().call_soon(callback, *args, context=context)

    def call_soon_untracked(self, callback: Callable[[], object]) -> None:
        """Schedule for the next round, stirring nobody."""
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
        """Run in a thread, which is work of whoever asks for it."""
        future = super().run_in_executor(executor, func, *args)
        supervisor = current_supervisor.get()
        if supervisor is not None:
            supervisor.track_thread(future)
        return future


def run_to_end(loop: HandlerLoop, coro: Coroutine[Any, Any, T]) -> T:
    """Run `coro` on a loop that nobody else runs; what user code makes of the loop is survived."""
    task = loop.create_task(coro)
    while True:
        try:
            return loop.run_until_complete(task)
        except SystemExit:
            # asyncio lets it out of any task that raises it; here it ends no more than that task.
            if task.done():
                raise


def close_loop(loop: HandlerLoop, invocations: "Collection[asyncio.Task[None]]" = ()) -> None:
    """Let what is left on a loop that does not run clean up for a limited time, and close it.

    `invocations` are stopped first: each stops the tasks of its own, once.
    """
    with suppress(TimeoutError):
        run_to_end(loop, _clean(loop, invocations))
    loop.close()


async def _clean(loop: HandlerLoop, invocations: "Collection[asyncio.Task[None]]") -> None:
    async with asyncio.timeout(CLEAN_S_MAX):
        await _stop(invocations)
        # Async generators that nobody holds any more are closed by tasks that begin just now.
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
    """Tell whether nobody stops a task: a second time would disturb how it cleans up."""
    return task is not this and not task.cancelling()
