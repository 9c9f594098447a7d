"""Supervises the asyncio tasks of one invocation: suspends it when all are idle, and stops them.

    RUNNING ── all tasks idle ──> SUSPENDED ──┐
       ├────── handler ended ───> ENDED ──────┼─> STOPPING (other tasks are cancelled) ──> STOPPED
       └────── invocation ended ──────────────┘

The rule: the invocation has something to do while an update is being recorded, a step's body runs,
or a task of the handler is runnable (see `perdure.drivers.idle`). When none of these holds, and a
durable operation is awaited, it suspends. Everything here runs on the loop, but `notify_changed`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, Final, TypeVar

from perdure.drivers.handler_loop import HandlerLoop, current_supervisor
from perdure.drivers.idle import DurableFuture, is_runnable
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.fibers import Fiber
from perdure.invocation.scope import step_running
from perdure.invocation.state import (
    REFRESH_S_FIRST,
    REFRESH_S_MAX,
    InvocationState,
    checkpoint_error,
    termination_for,
)
from perdure.operations.attempt import Attempt
from perdure.operations.program import Suspend
from perdure.primitives.context_variables import await_in_copy
from perdure.primitives.forked_process import ForkGuard
from perdure.primitives.user_code import RaisedByUserCode, call_user_code, carrier_of
from perdure.protocol.invocation import CheckpointRefused, CheckpointUnavailable, InvocationLost
from perdure.protocol.outcome import Lost, Outcome, Pending
from perdure_core.model import Operation, OperationUpdate

T = TypeVar("T")

# The most threads of one invocation that run ordinary functions at a time.
THREADS_MAX: Final = 64
# The rounds of the loop in which new tasks, and those that they create, may start before they are
# cancelled.
START_ROUNDS_MAX: Final = 8
# The longest time that cancelled tasks may take to clean up.
STOP_S_MAX: Final = 10.0
# How often the service is asked for the end of operations without a timer, while others run.
POLL_S: Final = 5.0

_log = logging.getLogger("perdure")


class TaskSupervisor:
    """The tasks of one invocation, and the durable operations that they await."""

    def __init__(self, invocation: InvocationState) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, HandlerLoop):
            raise TypeError("async handlers run on a perdure.drivers.handler_loop.HandlerLoop")
        self.invocation = invocation
        self.variables = copy_context()
        self._loop = loop
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._new_tasks: dict[asyncio.Task[Any], None] = {}
        self._threads: dict[asyncio.Future[Any], None] = {}
        self._free_threads = asyncio.Semaphore(THREADS_MAX)
        self._waiters: dict[str, dict[DurableFuture, Suspend]] = {}
        self._refreshing: Future[None] | None = None
        self._busy = 0
        self._active = False
        self._check_scheduled = False
        self._over = loop.create_future()
        invocation.on_operations_changed = self.notify_changed

    def start(self, coro: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start the handler's own task; all tasks that it creates belong to this supervisor."""
        self.variables.run(current_supervisor.set, self)
        task = self._loop.create_task(coro, context=self.variables)
        task.add_done_callback(self._end)
        return task

    async def run(self, handler: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run the handler's own coroutine to the end of the invocation, and return how it ended.

        Being cancelled means that the invocation is lost; its tasks are stopped all the same.
        """
        handling = self.start(handler)
        try:
            await self._over
        except asyncio.CancelledError:
            self.invocation.terminate(Lost())
        ending = self._loop.create_task(self.end(handling))
        while not ending.done():
            try:
                await asyncio.wait((ending,))
            except asyncio.CancelledError:
                self.invocation.terminate(Lost())
        return ending.result()

    async def end(self, handling: "asyncio.Task[Outcome]") -> Outcome:
        """Stop the tasks, wait for open checkpoints, and return how the invocation ended."""
        invocation = self.invocation
        invocation.close()
        await self._run_new_tasks()
        await self._stop()
        try:
            for future in invocation.pending_checkpoints():
                await self.recorded(future)
        except (InvocationLost, ExecutionError, InvocationError) as error:
            invocation.terminate(termination_for(error) or Pending())
        return invocation.termination or (handling.result() if _returned(handling) else Lost())

    async def _run_new_tasks(self) -> None:
        """Run new tasks for the first time, so that coroutines passed to them are awaited.

        Tasks of libraries (those of anyio below httpx) hold coroutines of others. A task that is
        cancelled before it starts never awaits them, which causes a warning for each.
        """
        for _ in range(START_ROUNDS_MAX):
            if not self._new_tasks:
                return
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        """Cancel each task once, wait a limited time, then wait for bodies in threads.

        The latter cannot be cancelled: the invocation lasts as long as they run.
        """
        cancelled: set[asyncio.Task[Any]] = set()
        deadline_s = self._loop.time() + STOP_S_MAX
        while self._tasks and (left_s := deadline_s - self._loop.time()) > 0:
            for task in [task for task in self._tasks if task not in cancelled]:
                cancelled.add(task)
                task.cancel()
            await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if self._tasks:
            _log.error(
                "%s: %d tasks did not end after they were cancelled; they are abandoned",
                self.invocation.execution_arn,
                len(self._tasks),
            )
        while self._threads:
            await asyncio.wait(self._threads)
        self.invocation.threads.wait_ended()  # their jobs have ended already: this ends them

    @property
    def only_handler_left(self) -> bool:
        """Whether the handler's own task is the only one left."""
        return len(self._tasks) == 1

    def coroutines(self) -> list[object]:
        """Return the coroutines of the tasks."""
        return [task.get_coro() for task in self._tasks]

    async def commit(self, fiber: Fiber, update: OperationUpdate) -> Operation:
        """Record `update`, wait until it is durable; see `InvocationState.commit`."""
        await self.recorded(self.invocation.submit(fiber, update, urgent=True))
        return self.invocation.recorded_operation(fiber, update)

    async def recorded(self, future: "Future[None]") -> None:
        """Wait for a checkpoint. Being cancelled leaves the checkpoint as it is."""
        if not future.done():
            recorded = self._loop.create_future()
            future.add_done_callback(lambda _: self._set_from_thread(recorded))
            self._busy += 1
            try:
                await recorded
            finally:
                self._busy -= 1
        try:
            future.result()
        except (CheckpointRefused, CheckpointUnavailable) as error:
            raise checkpoint_error(error) from error

    async def wait_changed(self, fiber: Fiber, waiting: Suspend) -> Operation:
        """Wait until the status of an operation differs from the one in `waiting`, and return it.

        The task is cancelled when the whole invocation has nothing to do meanwhile.
        """
        timeout_s = self.invocation.seconds_until(waiting.until_ms)
        refresh_s = REFRESH_S_FIRST
        while True:
            self.invocation.require_open(fiber)
            operation = self.invocation.recorded(waiting.operation_id)
            assert operation is not None
            if operation.status is not waiting.seen:
                return operation
            if not await self._wait_for_change(waiting, POLL_S if timeout_s is None else timeout_s):
                await self._refresh()
                if timeout_s is not None:
                    timeout_s, refresh_s = refresh_s, min(2 * refresh_s, REFRESH_S_MAX)

    async def run_step(self, body: Callable[[], Any]) -> Any:
        """Call user code that makes no durable calls."""

        def run() -> Any:
            step_running.set(True)
            return body()

        self._busy += 1
        try:
            return await await_in_copy(run)
        finally:
            self._busy -= 1

    async def in_thread(self, func: Callable[..., Any], *args: Any) -> Any:
        """Call an ordinary function in a thread, with the variables of this task."""
        async with self._free_threads:
            done: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
            job = partial(
                _call,
                partial(func, *args),
                partial(self._set_from_thread, done),
            )
            self._note_thread(done)
            self.invocation.threads.start(job)
            value, error = await asyncio.shield(done)
        if error is not None:
            raise error
        return await awaited(value)

    async def with_deadline(self, attempt: Attempt, body: Awaitable[T]) -> T:
        """Await a body, and cancel it when its attempt times out; that raises `TimeoutError`."""
        async with asyncio.timeout(None) as scope:
            deadline = _DeadlineTimer(self._loop, attempt, scope)
            try:
                return await body
            finally:
                deadline.timer.cancel()

    def child_fiber(self, parent: Fiber) -> "_ChildFiber":
        """Add a fiber for the body of a context, and cancel what the body leaves behind."""
        return _ChildFiber(self.invocation, parent)

    def has_not_awaited(self, task: "asyncio.Task[Any] | None") -> bool:
        """Return whether a task has not awaited anything yet."""
        return task in self._new_tasks

    def notify_changed(self, changed: Iterable[str]) -> None:
        """Wake tasks, from any thread, when operations have changed or the invocation has ended."""
        ids = tuple(changed)
        with suppress(RuntimeError):  # the loop is closed: this invocation has ended
            self._loop.call_soon_threadsafe(self._wake, ids)

    def note_activity(self) -> None:
        """Check after the next round of the loop whether the invocation is idle."""
        self._active = True
        if not self._check_scheduled:
            self._check_scheduled = True
            self._loop.call_soon_untracked(self._check_idle)

    def add_task(self, task: "asyncio.Task[Any]") -> None:
        """Add a new task. It runs for the first time just before it leaves the new tasks."""
        self._tasks[task] = None
        self._new_tasks[task] = None
        self._loop.call_soon_untracked(lambda: self._new_tasks.pop(task, None))
        task.add_done_callback(self._leave)

    def track_thread(self, future: "asyncio.Future[Any]") -> None:
        """Count a thread as work until `future` is done."""
        self._busy += 1
        future.add_done_callback(self._worked)

    async def _refresh(self) -> None:
        """Request the operations that have changed, once for all tasks that wait."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self.invocation.refresh()
        await self.recorded(self._refreshing)

    async def _wait_for_change(self, waiting: Suspend, timeout_s: float) -> bool:
        """Wait for an operation; return False when the timeout came first."""
        future = DurableFuture(loop=self._loop)
        self._waiters.setdefault(waiting.operation_id, {})[future] = waiting
        timer = self._loop.call_later(timeout_s, _set, future)
        try:
            await future
        finally:
            timer.cancel()
            futures = self._waiters.get(waiting.operation_id, {})
            timed_out = futures.pop(future, None) is not None
            if not futures:
                self._waiters.pop(waiting.operation_id, None)
        return not timed_out

    def _wake(self, operation_ids: Iterable[str]) -> None:
        for id_ in operation_ids:
            operation = self.invocation.recorded(id_)
            for future, waiting in list(self._waiters.get(id_, {}).items()):
                if operation is not None and operation.status is not waiting.seen:
                    del self._waiters[id_][future]
                    _set(future)
        if self.invocation.termination is not None:
            self._end()

    def _leave(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        if self.invocation.termination is not None and not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it

    def _check_idle(self) -> None:
        if self._active:
            self._active = False
            self._loop.call_soon_untracked(self._check_idle)
            return
        self._check_scheduled = False
        self._suspend_if_idle()

    def _suspend_if_idle(self) -> None:
        if self._busy or not self._waiters or self._over.done():
            return
        if not any(is_runnable(task, self._tasks) for task in self._tasks):
            self.invocation.suspend(
                waiting for futures in self._waiters.values() for waiting in futures.values()
            )

    def _end(self, _: object = None) -> None:
        _set(self._over)

    def _worked(self, _: object) -> None:
        self._busy -= 1

    def _note_thread(self, future: "asyncio.Future[Any]") -> None:
        self._threads[future] = None
        future.add_done_callback(lambda done: self._threads.pop(done, None))

    def _set_from_thread(self, future: "asyncio.Future[Any]", value: object = None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits any more
            self._loop.call_soon_threadsafe(_set, future, value)


class _ChildFiber:
    """The fiber of a body. A generator would set the traceback of errors that are frozen."""

    def __init__(self, invocation: InvocationState, parent: Fiber) -> None:
        self._invocation = invocation
        with invocation.lock:
            self._fiber = invocation.fibers.add(parent, parent.operation_id, parks=False)

    def __enter__(self) -> Fiber:
        return self._fiber

    def __exit__(self, *_: object) -> None:
        invocation, fiber = self._invocation, self._fiber
        with invocation.submitting, invocation.lock:
            fiber.cancelled = True
            invocation.fibers.cancel_children(fiber)
            invocation.fibers.end(fiber)


class _DeadlineTimer:
    """Cancels the body of an attempt at its deadline, which a heartbeat may move."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, attempt: Attempt, scope: asyncio.Timeout
    ) -> None:
        self._loop = loop
        self._attempt = attempt
        self._scope = scope
        self.timer = loop.call_later(attempt.left_s, self._check)

    def _check(self) -> None:
        if self._attempt.left_s <= 0:
            self._scope.reschedule(self._loop.time())
        else:
            self.timer = self._loop.call_later(self._attempt.left_s, self._check)


def _returned(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def await_user_code(body: Callable[[], Any], ended: Callable[[], bool]) -> Any:
    """Call user code and await it; what it raises arrives here, whatever it is.

    A cancellation is passed on where it was requested: this task was cancelled meanwhile, or
    the invocation has `ended`.
    """
    task = asyncio.current_task()
    asked = 0 if task is None else task.cancelling()
    try:
        return await awaited(call_user_code(body))
    except GeneratorExit:  # this coroutine is closed; one of user code arrives in its carrier
        raise
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > asked or ended():
            raise
        raise RaisedByUserCode(error) from None
    except BaseException as error:
        carrier = carrier_of(error)
        if carrier is error:
            raise
        raise carrier from None


async def awaited(value: Any) -> Any:
    """Return what an awaitable yields, and anything else as it is."""
    return await value if isawaitable(value) else value


def _call(func: Callable[[], Any], report: Callable[[object], None]) -> None:
    ended: tuple[Any, BaseException | None]
    try:
        with ForkGuard():
            ended = (call_user_code(func), None)
    except BaseException as error:  # noqa: BLE001 - raised where the body is awaited
        ended = (None, error)
    report(ended)


def _set(future: "asyncio.Future[Any]", value: object = None) -> None:
    if not future.done():
        future.set_result(value)
