"""The context of a synchronous handler: durable operations as blocking methods."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from perdure.context.decorators import (
    as_branches,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.context.handles import CallbackHandle, WaitHandle
from perdure.context.operation_factory import OperationFactory
from perdure.context.parallel_branch import ParallelBranch
from perdure.drivers.blocking import BlockingDriver
from perdure.invocation.scope import Scope
from perdure.operations.composition import ALL_OF, ANY_OF, RACE, Composition
from perdure.primitives.bound_function import refuse_coroutine_function
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

__all__ = [
    "Callback",
    "DurableContext",
    "DurableWait",
    "ExecutionContext",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
]

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")


class DurableContext:
    """The durable operations of one handler.

    Calls must come in the same order on every replay, from one thread, and not from inside a step.
    Once an invocation has ended (the execution waits, is paused, or runs elsewhere), every call
    raises control flow, which derives from `BaseException`: let it pass.
    """

    def __init__(self, scope: Scope, logger: LoggerInterface | None = None) -> None:
        self.execution_context = ExecutionContext(scope.invocation.execution_arn)
        self._scope = scope
        self._operations = OperationFactory(scope, _DRIVER, logger)

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

    def step(
        self,
        func: Callable[[StepContext], T],
        name: str | None = None,
        config: StepConfig | None = None,
    ) -> T:
        """Run `func` to a recorded outcome, and return its value.

        The value has passed through its serdes, on the first run and on replay. A failing `func`
        is retried by the retry strategy. `name` defaults to that of a `@durable_step`.

        Raises `StepError` when `func` failed for good, `ExecutionError` when its result is larger
        than 67,108,864 bytes, `ValidationError` for a name outside 1 to 256 printable ASCII
        characters.
        """
        refuse_coroutine_function(func)
        return cast("T", _DRIVER.drive(self._scope, self._operations.step(func, name, config)))

    def wait(self, duration: Duration | timedelta, name: str | None = None) -> None:
        """Suspend for `duration`, 1 ms to 366 days, at no cost meanwhile.

        Raises `ValidationError` outside these bounds.
        """
        _DRIVER.drive(self._scope, self._operations.wait(duration, name))

    def create_wait(self, duration: Duration | timedelta, name: str | None = None) -> "DurableWait":
        """Start a wait of `duration`, 1 ms to 366 days, and return at once.

        `DurableWait.result()` suspends until it is over, `cancel()` ends it early. Raises
        `ValidationError` outside these bounds.
        """
        created, creation = self._operations.create_wait(duration, name)
        _DRIVER.drive(self._scope, creation)
        return DurableWait(created)

    def now(self, name: str | None = None) -> datetime:
        """Return the current time, in UTC, to the millisecond, the same in every replay.

        It is the time at which the service recorded this operation, durable before it is returned.
        """
        return _DRIVER.drive(self._scope, self._operations.now(name))

    def uuid(self) -> UUID:
        """Return an identifier that no other call returns, the same in every replay.

        Nothing is recorded: it is derived from the execution, the context, and the number of calls
        of the context before. So a call that is inserted in front shifts those that follow. It is
        not a secret. Raises `ExecutionError` inside a step.
        """
        return deterministic_uuid(self._scope.next_deterministic_name(UUID_KIND))

    def random(self) -> Random:
        """Return a generator of random numbers, the same ones in every replay.

        Its seed is derived as a `uuid` is, with the same consequences.
        """
        return deterministic_random(self._scope.next_deterministic_name(RANDOM_KIND))

    def create_callback(
        self, name: str | None = None, config: CallbackConfig | None = None
    ) -> "Callback":
        """Create a callback, which an external client completes, and return at once.

        `Callback.result()` returns or raises how it ended.
        """
        created, creation = self._operations.create_callback(name, config)
        return Callback(_DRIVER.drive(self._scope, creation), created)

    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Any:
        """Submit a callback's id to an external system, and return the result of the callback.

        `submitter(callback_id, context)` runs as a step. `name` defaults to that of a
        `@durable_wait_for_callback`. Raises `CallbackSubmitterError` when the submitter failed for
        good, and what `Callback.result` raises.
        """
        refuse_coroutine_function(submitter)
        return _DRIVER.drive(
            self._scope, self._operations.wait_for_callback(submitter, name, config)
        )

    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], T],
        config: WaitForConditionConfig[T],
        name: str | None = None,
    ) -> T:
        """Call `check` with the state that it last returned until the strategy stops.

        Between two checks the execution waits at no cost. Raises `WaitForConditionError` when the
        check or the strategy raises: neither is retried.
        """
        refuse_coroutine_function(check)
        return cast(
            "T",
            _DRIVER.drive(self._scope, self._operations.wait_for_condition(check, config, name)),
        )

    def invoke(
        self,
        function_name: str,
        payload: P,
        name: str | None = None,
        config: InvokeConfig[P, R] | None = None,
    ) -> R:
        """Run another function, durable or not, as an execution of its own; return its result.

        The function is a name, alone or with `:$LATEST`, or an ARN. Raises `ValidationError` when
        no function can have that name, and `InvokeError` when the function fails, times out, is
        stopped or does not exist.
        """
        return cast(
            "R",
            _DRIVER.drive(
                self._scope, self._operations.invoke(function_name, payload, name, config)
            ),
        )

    def run_in_child_context(
        self,
        func: "Callable[[DurableContext], T]",
        name: str | None = None,
        config: ChildConfig[T] | None = None,
    ) -> T:
        """Run `func` as one operation that has durable operations of its own; return its value.

        `func` uses the context that is passed to it, not this one. `name` defaults to that of a
        `@durable_with_child_context`. Raises `ChildContextError` when `func` raises.
        """
        refuse_coroutine_function(func)
        return cast("T", _DRIVER.drive(self._scope, self._operations.child(func, name, config)))

    def map(
        self,
        inputs: Sequence[U],
        func: "Callable[[DurableContext, U, int, Any], T]",
        name: str | None = None,
        config: MapConfig[U] | None = None,
    ) -> BatchResult[T]:
        """Call `func(context, item, index, inputs)` for every item, side by side.

        An item that fails does not raise here: see `BatchResult.throw_if_error`. By default the
        first failure completes the batch. `name` defaults to that of a decorated
        `func`; items are called `map-item-{index}` unless an `item_namer` names them.
        """
        refuse_coroutine_function(func)
        return cast(
            "BatchResult[T]",
            _DRIVER.drive(self._scope, self._operations.map(inputs, func, name, config)),
        )

    def parallel(
        self,
        functions: "Sequence[Callable[[DurableContext], T] | ParallelBranch[T]]",
        name: str | None = None,
        config: ParallelConfig | None = None,
    ) -> BatchResult[T]:
        """Call every function with a context of its own, side by side; see `map`.

        Branches are called `parallel-branch-{index}`, unless they are a `ParallelBranch` with a
        name.
        """
        branches = as_branches(functions)
        for branch in branches:
            refuse_coroutine_function(branch.func)
        return cast(
            "BatchResult[T]",
            _DRIVER.drive(self._scope, self._operations.parallel(branches, name, config)),
        )

    def race(
        self,
        branches: "Sequence[Callable[[DurableContext], T] | ParallelBranch[T]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> T:
        """Call every function with a context of its own; the first one to end decides.

        Returns what it returned; raises `ChildContextError` when it raised. The others are
        cancelled: their waits end, their steps see it, and nothing more of them is recorded. Every
        replay returns the same. Raises `ValidationError` without branches.
        """
        return cast("T", self._compose(RACE, branches, name, config))

    def any_of(
        self,
        branches: "Sequence[Callable[[DurableContext], T] | ParallelBranch[T]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> T:
        """Call every function with a context of its own; the first one to succeed decides.

        The others are cancelled as in a `race`. When all fail, raises `AnyOfError`, which
        holds all errors.
        """
        return cast("T", self._compose(ANY_OF, branches, name, config))

    def all_of(
        self,
        branches: "Sequence[Callable[[DurableContext], T] | ParallelBranch[T]]",
        name: str | None = None,
        config: BranchesConfig | None = None,
    ) -> list[T]:
        """Call every function with a context of its own; return their values, in their order.

        The first failure is raised at once, as a `ChildContextError`; then the others are cancelled
        as in a `race`.
        """
        return cast("list[T]", self._compose(ALL_OF, branches, name, config))

    def perform_with_retry(
        self,
        func: "Callable[[DurableContext, int], T]",
        config: WithRetryConfig[T],
        name: str | None = None,
    ) -> T:
        """Retry `func(context, attempt)` until it does not raise: see `perdure.with_retry`."""
        refuse_coroutine_function(func)
        return cast(
            "T", _DRIVER.drive(self._scope, self._operations.with_retry(func, config, name))
        )

    def _compose(
        self,
        composition: Composition,
        functions: "Sequence[Callable[[DurableContext], Any] | ParallelBranch[Any]]",
        name: str | None,
        config: BranchesConfig | None,
    ) -> Any:
        branches = as_branches(functions)
        for branch in branches:
            refuse_coroutine_function(branch.func)
        return _DRIVER.drive(
            self._scope, self._operations.compose(composition, branches, name, config)
        )


_DRIVER: Final = BlockingDriver(DurableContext)


class Callback:
    """A callback that an external client completes; from `DurableContext.create_callback`."""

    def __init__(self, callback_id: str, created: CallbackHandle) -> None:
        self.callback_id = callback_id
        self.operation_id = created.operation_id
        self._created = created

    def result(self) -> Any:
        """Return the result of the callback, suspending until it is completed.

        Raises `CallbackExternalError` when it was completed as failed, `CallbackTimeoutError` when
        it was not completed, or no heartbeat came, in time.
        """
        return _DRIVER.drive(self._created.scope, self._created.result())


class DurableWait:
    """A wait that runs beside other operations; from `DurableContext.create_wait`."""

    def __init__(self, created: WaitHandle) -> None:
        self.operation_id = created.operation_id
        self._created = created

    def result(self) -> None:
        """Suspend until the wait is over.

        Raises `WaitCancelledError` when the wait was cancelled before.
        """
        _DRIVER.drive(self._created.scope, self._created.result())

    def cancel(self) -> bool:
        """Cancel the wait; return whether it is cancelled, False if it was over before.

        Every replay returns the same.
        """
        program = self._created.cancel()
        return _DRIVER.drive(self._created.scope.active(), program)
