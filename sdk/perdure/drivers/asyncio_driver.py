"""The asyncio driver: performs the effects of programs in the calling task."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, assert_never, cast

from perdure.drivers.idle import DurableFuture
from perdure.drivers.step_thread import call_with_deadline
from perdure.drivers.tasks import TaskSupervisor, await_user_code, awaited
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.fibers import Fiber
from perdure.invocation.scope import Scope
from perdure.operations.attempt import Attempt
from perdure.operations.program import (
    AwaitBranch,
    BranchEnd,
    CancelBranches,
    Commit,
    Effect,
    Program,
    Replayed,
    ReplayEnded,
    Resumed,
    Run,
    RunChild,
    Send,
    StartBranch,
    StepFinished,
    Suspend,
)
from perdure.primitives.bound_function import is_coroutine_function
from perdure.primitives.context_variables import await_in_copy
from perdure.primitives.operation_contexts import LoggerInterface
from perdure.primitives.user_code import asks_to_stop, call_user_code
from perdure.protocol.invocation import InvocationLost
from perdure.protocol.outcome import Errored
from perdure.serdes.error_records import error_record

T = TypeVar("T")


class AsyncDriver:
    """The driver of handlers that are coroutine functions (see `perdure.context.driver`)."""

    def __init__(
        self, supervisor: TaskSupervisor, make_context: "Callable[[Scope, AsyncDriver, Any], Any]"
    ) -> None:
        self._supervisor = supervisor
        self._make_context = make_context

    def context(self, scope: Scope, logger: LoggerInterface) -> Any:
        """Return the context that user code receives for `scope`."""
        return self._make_context(scope, self, logger)

    def user_function(
        self, func: Callable[..., Any], attempt: Attempt | None = None
    ) -> Callable[..., Any]:
        """Return how to call user code: a coroutine function here, any other in a thread."""
        supervisor = self._supervisor
        if attempt is None or not attempt.is_limited:
            here = is_coroutine_function(func)
            return func if here else lambda *args: supervisor.in_thread(func, *args)
        if is_coroutine_function(func):
            return lambda *args: supervisor.with_deadline(attempt, func(*args))
        return lambda *args: supervisor.in_thread(call_with_deadline, attempt, partial(func, *args))

    async def run_body(self, scope: Scope, body: Callable[[], Any]) -> Any:
        """Call `body`, whose durable calls belong to `scope`, and wait for it.

        It runs in a copy of the variables here. Tasks that it leaves behind stop at their next
        durable call, and record nothing more.
        """
        return await await_in_copy(partial(self._run_body, scope, body))

    async def _run_body(self, scope: Scope, body: Callable[[], Any]) -> Any:
        task = asyncio.current_task()
        with scope.activate():
            if scope.owner is task:  # a batch whose branches run again, one after the other
                return await self._awaited(scope, body)
            scope.owner = task
            with self._supervisor.child_fiber(scope.fiber) as scope.fiber:
                return await self._awaited(scope, body)

    async def _awaited(self, scope: Scope, body: Callable[[], Any]) -> Any:
        value = await awaited(call_user_code(body))
        if scope.invocation.termination is None:
            scope.check_all_awaited(self._supervisor.coroutines)
        return value

    async def drive(self, scope: Scope, program: Program[T]) -> T:
        """Perform the effects of `program`, and return its value.

        An error that cannot be repaired ends the invocation.
        """
        performing = _Drive(self._supervisor, scope)
        answer: object = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    effect = program.send(answer) if failure is None else program.throw(failure)
                except StopIteration as stop:
                    return cast("T", stop.value)
                try:
                    answer, failure = await performing.perform(effect), None
                except BaseException as error:  # noqa: BLE001 - the program decides what it means
                    answer, failure = None, error
        except (InvocationLost, ExecutionError, InvocationError) as error:
            scope.invocation.terminate_on(scope.active().fiber, error)
            raise
        except BaseException as error:
            # A plugin does: what user code raises is recorded. `failure` closes this coroutine.
            if asks_to_stop(error) and error is not failure:
                scope.invocation.terminate(Errored(error_record(error)))
            raise

    async def start(self, scope: Scope, program: Program[T]) -> T:
        """Drive `program` after all tasks that exist by now have run for the first time."""
        scope.unawaited.pop(program, None)
        await asyncio.sleep(0)
        return await self.drive(scope, program)

    def check_task(self, scope: Scope) -> None:
        """Refuse a call whose order among the others depends on what ends first."""
        task = _current_task()
        if task is not scope.owner and not self._supervisor.has_not_awaited(task):
            scope.fail_execution(
                f"A task used the context of {scope.description} after it had awaited something, so"
                " the order of operations could change on replay. Give the task its own context"
                " with run_in_child_context()."
            )


class _Drive:
    """Performs the effects of one program."""

    def __init__(self, supervisor: TaskSupervisor, scope: Scope) -> None:
        self._supervisor = supervisor
        self._scope = scope
        self._branches: _Branches | None = None

    async def perform(self, effect: Effect) -> Any:
        scope, supervisor = self._scope, self._supervisor
        match effect:
            case Send(update):
                return scope.invocation.send(scope.fiber, update)
            case Commit(update):
                return await supervisor.commit(scope.fiber, update)
            case Run(body):
                return await self._user_code(partial(supervisor.run_step, body))
            case ReplayEnded() | Resumed():
                return scope.note_progress(effect)
            case Replayed() | StepFinished():
                return scope.notify_observer(effect)
            case Suspend():
                return await supervisor.wait_changed(scope.active().fiber, effect)
            case RunChild(body):
                return await self._user_code(body)
            case StartBranch() | AwaitBranch() | CancelBranches():
                return await self._perform_branch(effect)
            case _:
                assert_never(effect)

    async def _user_code(self, body: Callable[[], Any]) -> Any:
        """Call user code and await it; what it raises arrives here, whatever it is."""
        return await await_user_code(body, lambda: self._scope.invocation.termination is not None)

    async def _perform_branch(self, effect: StartBranch | AwaitBranch | CancelBranches) -> Any:
        branches = self._branches or _Branches(self._supervisor, self._scope.fiber)
        self._branches = branches
        match effect:
            case StartBranch():
                return branches.start(effect)
            case AwaitBranch():
                return await branches.wait_ended()
            case CancelBranches():
                return branches.cancel()
            case _:
                assert_never(effect)


class _Branches:
    """The branches of one batch: tasks that run side by side, and whose ends arrive one by one."""

    def __init__(self, supervisor: TaskSupervisor, fiber: Fiber) -> None:
        self._invocation = supervisor.invocation
        self._fiber = fiber
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._ends: deque[BranchEnd] = deque()
        self._awaited: DurableFuture | None = None

    def start(self, start: StartBranch) -> None:
        """Start a branch. Raises control flow when the invocation has ended."""
        invocation = self._invocation
        with invocation.lock:
            invocation.require_open(self._fiber)
            branch = invocation.fibers.add(self._fiber, start.operation_id, parks=False)
        task = asyncio.create_task(awaited(start.body(branch)))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._end(done, start, branch))

    async def wait_ended(self) -> BranchEnd:
        """Wait until one more branch has ended, and return its end."""
        while not self._ends:
            self._awaited = DurableFuture()
            await self._awaited
        return self._ends.popleft()

    def cancel(self) -> None:
        """Cancel all branches that have not ended; nothing more of them is recorded."""
        self._invocation.cancel_children(self._fiber)
        for task in self._tasks:
            task.cancel()

    def _end(self, task: "asyncio.Task[Any]", start: StartBranch, branch: Fiber) -> None:
        del self._tasks[task]
        with self._invocation.lock:
            self._invocation.fibers.end(branch)
        self._ends.append(_end_of(task, start.index))
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


def _end_of(task: "asyncio.Task[Any]", index: int) -> BranchEnd:
    if task.cancelled():
        return BranchEnd(index, error=asyncio.CancelledError())
    error = task.exception()
    return BranchEnd(index, error=error) if error is not None else BranchEnd(index, task.result())


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop
        return None
