"""The context of an async handler: durable operations as coroutines.

Every method assigns its operation's id when it is called, before anything is awaited, so gathered
operations are identified by the order of their calls, whichever ends first. Each first yields to
the loop once: so a task that was created before runs before this one goes on, in the first run and
in every replay.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias, TypeVar, overload
from uuid import UUID

from perdure.context.decorators import as_branches
from perdure.context.handles import CallbackHandle, WaitHandle
from perdure.context.operation_factory import OperationFactory
from perdure.context.parallel_branch import ParallelBranch
from perdure.drivers.asyncio_driver import AsyncDriver
from perdure.exceptions import (
    NonDeterministicExecutionError,
    OrphanedChildException,
    SuspendExecution,
)
from perdure.invocation.scope import Scope
from perdure.operations.composition import ALL_OF, ANY_OF, RACE, Composition
from perdure.operations.program import Program
from perdure.primitives.call_site import call_of_user
from perdure.primitives.deterministic import (
    RANDOM_KIND,
    UUID_KIND,
    deterministic_random,
    deterministic_uuid,
)
from perdure.primitives.duration import Duration
from perdure.primitives.execution_context import ExecutionContext
from perdure.primitives.logger import Logger
from perdure.primitives.operation_contexts import (
    LoggerInterface,
    StepContext,
    WaitForCallbackContext,
    WaitForConditionCheckContext,
)
from perdure.protocol.invocation import InvocationLost
from perdure.serdes.batch_result import BatchResult
from perdure.settings.operations import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    InvokeConfig,
    MapConfig,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    WithRetryConfig,
)
from perdure.settings.wait_strategies import WaitForConditionConfig

__all__ = ["AsyncCallback", "AsyncDurableContext", "AsyncDurableWait"]

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")

# Raised where a call is awaited, not where it is made, so that calls beside it are awaited too.
_CONTROL_FLOW: Final = (
    NonDeterministicExecutionError,
    OrphanedChildException,
    SuspendExecution,
    InvocationLost,
)

_Branch: TypeAlias = "Callable[[AsyncDurableContext], Coroutine[Any, Any, T]]"


class AsyncDurableContext:
    """The durable operations of one async handler.

    Operations may run side by side, by `asyncio.gather`, `asyncio.TaskGroup` and tasks. Call the
    methods in the same order on every replay: in the task that received the context, or first
    thing in another one. A task with more to do needs a context of its own, from
    `run_in_child_context`. `DurableContext` describes each operation.
    """

    def __init__(
        self, scope: Scope, driver: AsyncDriver, logger: LoggerInterface | None = None
    ) -> None:
        self.execution_context = ExecutionContext(scope.invocation.execution_arn)
        self._scope = scope
        self._driver = driver
        self._operations = OperationFactory(scope, driver, logger)

    @property
    def logger(self) -> Logger:
        """A logger whose records appear once, although the handler is replayed."""
        return self._operations.logger

    def set_logger(self, new_logger: LoggerInterface) -> None:
        """Send log records of this context, and of its operations, to `new_logger` from now on."""
        self._operations.set_logger(new_logger)

    @property
    def is_virtual(self) -> bool:
        """Whether this context records nothing itself."""
        return self._scope.prefix != self._scope.parent_id

    def is_replaying(self) -> bool:
        """Whether the handler is still repeating what it did in earlier invocations."""
        return self._scope.replaying

    @overload
    def step(
        self,
        func: Callable[[StepContext], Coroutine[Any, Any, T]],
        name: str | None = None,
        config: StepConfig | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self,
        func: Callable[[StepContext], T],
        name: str | None = None,
        config: StepConfig | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    def step(
        self,
        func: Callable[[StepContext], Any],
        name: str | None = None,
        config: StepConfig | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Run `func` to a recorded outcome: a coroutine function here, any other in a thread."""
        return self._start(lambda: self._operations.step(func, name, config))

    def wait(
        self, duration: Duration | timedelta, name: str | None = None
    ) -> Coroutine[Any, Any, None]:
        """Wait for 1 ms to 366 days, at no cost when everything else waits too."""
        return self._start(lambda: self._operations.wait(duration, name))

    def create_wait(
        self, duration: Duration | timedelta, name: str | None = None
    ) -> "Coroutine[Any, Any, AsyncDurableWait]":
        """Start a wait of 1 ms to 366 days, and go on at once."""

        def create() -> "Program[AsyncDurableWait]":
            created, creation = self._operations.create_wait(duration, name)
            return self._created_wait(created, creation)

        return self._start(create)

    def now(self, name: str | None = None) -> Coroutine[Any, Any, datetime]:
        """Return the current time, in UTC, to the millisecond, the same in every replay."""
        return self._start(lambda: self._operations.now(name))

    def uuid(self) -> UUID:
        """Return at once an identifier that no other call returns, the same in every replay."""
        return deterministic_uuid(self._next_deterministic_name(UUID_KIND))

    def random(self) -> Random:
        """Return at once a generator of random numbers, the same ones in every replay."""
        return deterministic_random(self._next_deterministic_name(RANDOM_KIND))

    def create_callback(
        self, name: str | None = None, config: CallbackConfig | None = None
    ) -> "Coroutine[Any, Any, AsyncCallback]":
        """Create a callback, which an external client completes."""

        def create() -> "Program[AsyncCallback]":
            created, creation = self._operations.create_callback(name, config)
            return self._created(created, creation)

        return self._start(create)

    @overload
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Awaitable[Any]],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Coroutine[Any, Any, Any]: ...
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Submit a callback's id to an external system, and return the callback's result."""
        return self._start(lambda: self._operations.wait_for_callback(submitter, name, config))

    @overload
    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], Coroutine[Any, Any, T]],
        config: WaitForConditionConfig[T],
        name: str | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], T],
        config: WaitForConditionConfig[T],
        name: str | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    def wait_for_condition(
        self,
        check: Callable[[Any, WaitForConditionCheckContext], Any],
        config: WaitForConditionConfig[Any],
        name: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Call `check` with the state that it last returned until the strategy stops."""
        return self._start(lambda: self._operations.wait_for_condition(check, config, name))

    def invoke(
        self,
        function_name: str,
        payload: P,
        name: str | None = None,
        config: InvokeConfig[P, R] | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Run another function, durable or not, as an execution of its own; return its result."""
        return self._start(lambda: self._operations.invoke(function_name, payload, name, config))

    def run_in_child_context(
        self,
        func: "Callable[[AsyncDurableContext], Awaitable[T]]",
        name: str | None = None,
        config: ChildConfig[T] | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Run `func` as one operation that has durable operations of its own."""
        return self._start(lambda: self._operations.child(func, name, config))

    def map(
        self,
        inputs: Sequence[U],
        func: "Callable[[AsyncDurableContext, U, int, Any], Awaitable[T]]",
        name: str | None = None,
        config: MapConfig[U] | None = None,
    ) -> Coroutine[Any, Any, BatchResult[T]]:
        """Call `func(context, item, index, inputs)` for every item, side by side."""
        return self._start(lambda: self._operations.map(inputs, func, name, config))

    def parallel(
        self,
        functions: "Sequence[_Branch[T] | ParallelBranch[Coroutine[Any, Any, T]]]",
        name: str | None = None,
        config: ParallelConfig | None = None,
    ) -> Coroutine[Any, Any, BatchResult[T]]:
        """Call every function with a context of its own, side by side."""
        branches = as_branches(functions)
        return self._start(lambda: self._operations.parallel(branches, name, config))

    def race(
        self,
        branches: "Sequence[_Branch[T] | ParallelBranch[Coroutine[Any, Any, T]]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call every function with a context of its own; the first one to end decides."""
        return self._compose(RACE, branches, name, config)

    def any_of(
        self,
        branches: "Sequence[_Branch[T] | ParallelBranch[Coroutine[Any, Any, T]]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call every function with a context of its own; the first one to succeed decides."""
        return self._compose(ANY_OF, branches, name, config)

    def all_of(
        self,
        branches: "Sequence[_Branch[T] | ParallelBranch[Coroutine[Any, Any, T]]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> Coroutine[Any, Any, list[T]]:
        """Call every function with a context of its own; return their values, in their order."""
        return self._compose(ALL_OF, branches, name, config)

    def perform_with_retry(
        self,
        func: "Callable[[AsyncDurableContext, int], Awaitable[T]]",
        config: WithRetryConfig[T],
        name: str | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Retry `func(context, attempt)` until it does not raise: see `perdure.with_retry`."""
        return self._start(lambda: self._operations.with_retry(func, config, name))

    def _start(self, call: Callable[[], Program[T]]) -> Coroutine[Any, Any, T]:
        try:
            program = call()
            self._driver.check_task(self._scope)
        except _CONTROL_FLOW as error:
            return _raise_when_awaited(error)
        coroutine = self._driver.start(self._scope, program)
        made = call_of_user(inspect.currentframe())
        self._scope.unawaited[program] = (coroutine, made)
        return coroutine

    def _compose(
        self,
        composition: Composition,
        functions: Sequence[Any],
        name: str | None,
        config: BranchesConfig | None,
    ) -> Coroutine[Any, Any, Any]:
        branches = as_branches(functions)
        return self._start(lambda: self._operations.compose(composition, branches, name, config))

    def _next_deterministic_name(self, kind: str) -> str:
        name = self._scope.next_deterministic_name(kind)
        self._driver.check_task(self._scope)
        return name

    def _created(self, created: CallbackHandle, creation: Program[str]) -> "Program[AsyncCallback]":
        callback_id = yield from creation
        return AsyncCallback(callback_id, created, self._driver)

    def _created_wait(
        self, created: WaitHandle, creation: Program[None]
    ) -> "Program[AsyncDurableWait]":
        yield from creation
        return AsyncDurableWait(created, self._driver)


class AsyncCallback:
    """A callback that a client completes; from `AsyncDurableContext.create_callback`."""

    def __init__(self, callback_id: str, created: CallbackHandle, driver: AsyncDriver) -> None:
        self.callback_id = callback_id
        self.operation_id = created.operation_id
        self._created = created
        self._driver = driver

    def result(self) -> Coroutine[Any, Any, Any]:
        """Return the result of the callback.

        Raises `CallbackExternalError` when it was completed as failed, `CallbackTimeoutError` when
        it was not completed, or no heartbeat came, in time.
        """
        scope = self._created.scope
        return _noted(scope, lambda: self._driver.start(scope, self._created.result()))


class AsyncDurableWait:
    """A wait that runs beside other operations; from `AsyncDurableContext.create_wait`."""

    def __init__(self, created: WaitHandle, driver: AsyncDriver) -> None:
        self.operation_id = created.operation_id
        self._created = created
        self._driver = driver

    def result(self) -> Coroutine[Any, Any, None]:
        """Wait until it is over; raise `WaitCancelledError` when it was cancelled before."""
        scope = self._created.scope
        return _noted(scope, lambda: self._driver.start(scope, self._created.result()))

    def cancel(self) -> Coroutine[Any, Any, bool]:
        """Cancel the wait; return whether it is cancelled, False if it was over before."""
        scope = self._created.scope.active()
        return _noted(scope, lambda: self._driver.start(scope, self._created.cancel()))


def _noted(scope: Scope, start: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
    """Return the coroutine that awaits what `start` returns, noted until it is awaited."""
    key = object()

    async def run() -> T:
        scope.unawaited.pop(key, None)
        return await start()

    coroutine = run()
    call = call_of_user(inspect.currentframe())
    scope.unawaited[key] = (coroutine, call)
    return coroutine


async def _raise_when_awaited(error: BaseException) -> Any:
    # Not at once: a handler that catches everything must not block the loop.
    await asyncio.sleep(0)
    raise error
