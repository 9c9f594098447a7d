"""The tasks of one async invocation: what they wait for, when all are at rest, how they stop.

    RUNNING ── all at rest ──> SUSPENDED ──┐
       ├────── handler ended ──> ENDED ────┼─> STOPPING (what is left is cancelled) ──> over
       └────── turn settled ───────────────┘

The rule: the invocation has something to do while an update is being recorded, a step's body runs,
or a task of the handler can move by itself (see `at_rest`). When none is, and something durable is
awaited, it suspends. Everything here belongs to the loop, but `hear`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, Final, TypeVar

from perdure.drivers.handler_loop import HandlerLoop, crew_of_context
from perdure.drivers.idle import Rest, moves
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.fibers import Strand
from perdure.invocation.scope import step_running
from perdure.invocation.state import REFRESH_S_FIRST, REFRESH_S_MAX, Turn, failure_end, failure_of
from perdure.operations.attempt import Attempt
from perdure.operations.program import Suspend
from perdure.protocol.invocation import CheckpointRefused, CheckpointUnavailable, InvocationLost
from perdure.protocol.outcome import Lost, Outcome, Pending
from perdure_core.model import Operation, OperationUpdate

T = TypeVar("T")

# Ordinary functions run in threads; so many of one invocation at a time.
THREADS_MAX: Final = 64
# How many rounds of the loop tasks that were just made, and those that they make, have to begin
# before they are cancelled.
BEGIN_ROUNDS_MAX: Final = 8
# How long tasks that are cancelled may take to clean up.
STOP_S_MAX: Final = 10.0
# How often the service is asked about what no timer ends, while something else runs.
LOOK_S: Final = 5.0

_log = logging.getLogger("perdure")


class Crew:
    """The tasks of one invocation, and what they wait for."""

    def __init__(self, turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, HandlerLoop):
            raise TypeError("async handlers run on a perdure.drivers.handler_loop.HandlerLoop")
        self.turn = turn
        self.variables = copy_context()
        self._loop = loop
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._fresh: dict[asyncio.Task[Any], None] = {}
        self._threads: dict[asyncio.Future[Any], None] = {}
        self._free_threads = asyncio.Semaphore(THREADS_MAX)
        self._rests: dict[str, dict[Rest, Suspend]] = {}
        self._refreshing: Future[None] | None = None
        self._busy = 0
        self._stirred = False
        self._looking = False
        self._over = loop.create_future()
        turn.on_change = self.hear

    def start(self, coro: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Make the handler's own task; all that it makes will be of this crew."""
        self.variables.run(crew_of_context.set, self)
        task = self._loop.create_task(coro, context=self.variables)
        task.add_done_callback(self._end)
        return task

    async def conduct(self, handler: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run the handler's own coroutine to the end of the invocation, and return how it ended.

        Being cancelled means that the turn has passed; what runs is stopped all the same.
        """
        handling = self.start(handler)
        try:
            await self._over
        except asyncio.CancelledError:
            self.turn.settle(Lost())
        ending = self._loop.create_task(self.end(handling))
        while not ending.done():
            try:
                await asyncio.wait((ending,))
            except asyncio.CancelledError:
                self.turn.settle(Lost())
        return ending.result()

    async def end(self, handling: "asyncio.Task[Outcome]") -> Outcome:
        """Stop what still runs, write what was not awaited, then say how the invocation ended."""
        turn = self.turn
        with turn.submitting, turn.lock:
            turn.strands.root.abandoned = True
            turn.strands.abandon_below(turn.strands.root)
        await self._let_begin()
        await self._stop()
        try:
            for future in turn.unwritten():
                await self.recorded(future)
        except (InvocationLost, ExecutionError, InvocationError) as error:
            turn.settle(failure_end(error) or Pending())
        return turn.settled or (handling.result() if _returned(handling) else Lost())

    async def _let_begin(self) -> None:
        """Let new tasks run for the first time: what they were given is awaited there, or never.

        Tasks of libraries (those of anyio below httpx) hold coroutines of others, which a task that
        is cancelled before it began leaves behind, with a warning for each.
        """
        for _ in range(BEGIN_ROUNDS_MAX):
            if not self._fresh:
                return
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        """Cancel what still runs, once each, and wait a limited time; then for bodies in threads.

        The latter cannot be cancelled: the invocation lasts as long as they run.
        """
        asked: set[asyncio.Task[Any]] = set()
        deadline_s = self._loop.time() + STOP_S_MAX
        while self._tasks and (left_s := deadline_s - self._loop.time()) > 0:
            for task in [task for task in self._tasks if task not in asked]:
                asked.add(task)
                task.cancel()
            await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if self._tasks:
            _log.error(
                "%s: %d tasks do not end after they were cancelled; they are left alone",
                self.turn.execution_arn,
                len(self._tasks),
            )
        while self._threads:
            await asyncio.wait(self._threads)
        self.turn.threads.wait_ended()  # they have told their ends already: this lets them go

    @property
    def alone(self) -> bool:
        """Whether no task of the invocation but the handler's own has anything left to do."""
        return len(self._tasks) == 1

    async def commit(self, strand: Strand, update: OperationUpdate) -> Operation:
        """Record `update`, wait until it is durable; see `Turn.commit`."""
        await self.recorded(self.turn.submit(strand, update, urgent=True))
        return self.turn.committed(strand, update)

    async def recorded(self, future: "Future[None]") -> None:
        """Wait for a checkpoint. Being cancelled leaves the checkpoint as it is."""
        if not future.done():
            with self._working():
                told = self._loop.create_future()
                future.add_done_callback(lambda _: self._tell(told))
                await told
        try:
            future.result()
        except (CheckpointRefused, CheckpointUnavailable) as error:
            raise failure_of(error) from error

    async def wait_changed(self, strand: Strand, waiting: Suspend) -> Operation:
        """Return an operation as soon as its status is another one than `waiting` has seen.

        The task is cancelled when the whole invocation has nothing to do meanwhile.
        """
        timeout_s = self.turn.left_s(waiting.until_ms)
        refresh_s = REFRESH_S_FIRST
        while True:
            self.turn.require_open(strand)
            operation = self.turn.recorded(waiting.operation_id)
            assert operation is not None
            if operation.status is not waiting.seen:
                return operation
            if not await self._rest_for(waiting, LOOK_S if timeout_s is None else timeout_s):
                await self._refresh()
                if timeout_s is not None:
                    timeout_s, refresh_s = refresh_s, min(2 * refresh_s, REFRESH_S_MAX)

    async def run_step(self, body: Callable[[], Any]) -> Any:
        """Call user code that makes no durable calls."""
        token = step_running.set(True)
        try:
            with self._working():
                return await awaited(body())
        finally:
            with suppress(ValueError):  # see `Scope.current`
                step_running.reset(token)

    async def in_thread(self, func: Callable[..., Any], *args: Any) -> Any:
        """Call an ordinary function in a thread, with the variables of this task."""
        async with self._free_threads:
            done: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
            job = partial(
                _call, partial(copy_context().run, func, *args), partial(self._tell, done)
            )
            self._note_thread(done)
            self.turn.threads.start(job)
            value, error = await asyncio.shield(done)
        if error is not None:
            raise error
        return await awaited(value)

    async def in_time(self, attempt: Attempt, body: Awaitable[T]) -> T:
        """Await a body, and cancel it when its attempt is overdue; that raises `TimeoutError`."""
        async with asyncio.timeout(None) as scope:
            look = _Look(self._loop, attempt, scope)
            try:
                return await body
            finally:
                look.timer.cancel()

    @contextmanager
    def strand_below(self, above: Strand) -> Generator[Strand]:
        """Make a strand for the body of a context; what the body leaves behind is abandoned."""
        turn = self.turn
        with turn.lock:
            strand = turn.strands.add(above, above.operation_id, parks=False)
        try:
            yield strand
        finally:
            with turn.submitting, turn.lock:
                strand.abandoned = True
                turn.strands.abandon_below(strand)
                turn.strands.end(strand)

    def is_fresh(self, task: "asyncio.Task[Any] | None") -> bool:
        """Tell whether a task has never waited for anything yet."""
        return task in self._fresh

    def hear(self, changed: Iterable[str]) -> None:
        """Note, from any thread, that operations have changed or the end is settled."""
        ids = tuple(changed)
        with suppress(RuntimeError):  # the loop is closed: this invocation is long over
            self._loop.call_soon_threadsafe(self._wake, ids)

    def stir(self) -> None:
        """Look, when the round that comes is over, whether something goes on."""
        self._stirred = True
        if not self._looking:
            self._looking = True
            self._loop.call_quietly(self._look)

    def join(self, task: "asyncio.Task[Any]") -> None:
        """Note a new task. It runs for the first time just before it ceases to be fresh."""
        self._tasks[task] = None
        self._fresh[task] = None
        self._loop.call_quietly(lambda: self._fresh.pop(task, None))
        task.add_done_callback(self._leave)

    def work_on(self, future: "asyncio.Future[Any]") -> None:
        """Count as work what a thread does."""
        self._busy += 1
        future.add_done_callback(self._worked)

    async def _refresh(self) -> None:
        """Ask the service what has changed, once for all who want to know."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self.turn.refresh()
        await self.recorded(self._refreshing)

    async def _rest_for(self, waiting: Suspend, timeout_s: float) -> bool:
        """Wait; tell whether something happened before the time was over."""
        rest = Rest(loop=self._loop)
        self._rests.setdefault(waiting.operation_id, {})[rest] = waiting
        timer = self._loop.call_later(timeout_s, _set, rest)
        try:
            await rest
        finally:
            timer.cancel()
            rests = self._rests.get(waiting.operation_id, {})
            timed_out = rests.pop(rest, None) is not None
            if not rests:
                self._rests.pop(waiting.operation_id, None)
        return not timed_out

    def _wake(self, operation_ids: Iterable[str]) -> None:
        for id_ in operation_ids:
            operation = self.turn.recorded(id_)
            for rest, waiting in list(self._rests.get(id_, {}).items()):
                if operation is not None and operation.status is not waiting.seen:
                    del self._rests[id_][rest]
                    _set(rest)
        if self.turn.settled is not None:
            self._end()

    def _leave(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        if self.turn.settled is not None and not task.cancelled():
            task.exception()  # nobody needs to be told what became of a task that had to stop

    def _look(self) -> None:
        if self._stirred:
            self._stirred = False
            self._loop.call_quietly(self._look)
            return
        self._looking = False
        self._judge()

    def _judge(self) -> None:
        if self._busy or not self._rests or self._over.done():
            return
        if not any(moves(task, self._tasks) for task in self._tasks):
            self.turn.suspend(
                waiting for rests in self._rests.values() for waiting in rests.values()
            )

    def _end(self, _: object = None) -> None:
        _set(self._over)

    @contextmanager
    def _working(self) -> Generator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _worked(self, _: object) -> None:
        self._busy -= 1

    def _note_thread(self, future: "asyncio.Future[Any]") -> None:
        self._threads[future] = None
        future.add_done_callback(lambda done: self._threads.pop(done, None))

    def _tell(self, future: "asyncio.Future[Any]", value: object = None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_set, future, value)


class _Look:
    """Looks whether an attempt is overdue, when it would be; ends its `scope` when it is."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, attempt: Attempt, scope: asyncio.Timeout
    ) -> None:
        self._loop = loop
        self._attempt = attempt
        self._scope = scope
        self.timer = loop.call_later(attempt.left_s, self._look)

    def _look(self) -> None:
        if self._attempt.left_s <= 0:
            self._scope.reschedule(self._loop.time())
        else:
            self.timer = self._loop.call_later(self._attempt.left_s, self._look)


def _returned(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def awaited(value: Any) -> Any:
    """Return what an awaitable yields, and anything else as it is."""
    return await value if isawaitable(value) else value


def _call(func: Callable[[], Any], tell: Callable[[object], None]) -> None:
    ended: tuple[Any, BaseException | None]
    try:
        ended = (func(), None)
    except BaseException as error:  # noqa: BLE001 - raised where the body is awaited
        ended = (None, error)
    tell(ended)


def _set(future: "asyncio.Future[Any]", value: object = None) -> None:
    if not future.done():
        future.set_result(value)
