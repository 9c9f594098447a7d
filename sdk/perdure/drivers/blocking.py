"""The blocking driver: performs the effects of programs on the calling thread."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, assert_never, cast

from perdure.drivers.blocking_branches import Branches
from perdure.drivers.step_thread import call_with_deadline
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.scope import Scope, step_running
from perdure.operations.attempt import Attempt
from perdure.operations.program import (
    AwaitBranch,
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
from perdure.primitives.context_variables import call_in_copy
from perdure.primitives.operation_contexts import LoggerInterface
from perdure.primitives.user_code import asks_to_stop, call_user_code
from perdure.protocol.invocation import InvocationLost
from perdure.protocol.outcome import Errored
from perdure.serdes.error_records import error_record

T = TypeVar("T")


class BlockingDriver:
    """The driver of handlers that are ordinary functions (see `perdure.context.driver`)."""

    def __init__(self, make_context: Callable[[Scope, LoggerInterface], Any]) -> None:
        self.context = make_context

    def user_function(
        self, func: Callable[..., Any], attempt: Attempt | None = None
    ) -> Callable[..., Any]:
        """Return how to call user code that makes no durable calls."""
        if attempt is None or not attempt.is_limited:
            return func
        return lambda *args: call_with_deadline(attempt, partial(func, *args))

    def run_body(self, scope: Scope, body: Callable[[], Any]) -> Any:
        """Call `body`, whose durable calls belong to `scope`, in a copy of the variables here."""
        return call_in_copy(partial(scope.run, body))

    def drive(self, scope: Scope, program: Program[T]) -> T:
        """Perform the effects of `program`, and return its value.

        An error that cannot be repaired ends the invocation.
        """
        performing = _Drive(scope)
        answer: object = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    effect = program.send(answer) if failure is None else program.throw(failure)
                except StopIteration as stop:
                    return cast("T", stop.value)
                try:
                    answer, failure = performing.perform(effect), None
                except BaseException as error:  # noqa: BLE001 - the program decides what it means
                    answer, failure = None, error
        except (InvocationLost, ExecutionError, InvocationError) as error:
            scope.invocation.terminate_on(scope.active().fiber, error)
            raise
        except BaseException as error:
            if asks_to_stop(error):  # a plugin does: what user code raises is recorded
                scope.invocation.terminate(Errored(error_record(error)))
            raise


class _Drive:
    """Performs the effects of one program."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._branches: Branches | None = None

    def perform(self, effect: Effect) -> Any:
        scope = self._scope
        match effect:
            case Send(update):
                return scope.invocation.send(scope.fiber, update)
            case Commit(update):
                return scope.invocation.commit(scope.fiber, update)
            case Run(body):
                return _run_step(body)
            case ReplayEnded() | Resumed():
                return scope.note_progress(effect)
            case Replayed() | StepFinished():
                return scope.notify_observer(effect)
            case Suspend():
                return scope.invocation.wait_changed(scope.active().fiber, effect)
            case RunChild(body):
                return call_user_code(body)
            case StartBranch() | AwaitBranch() | CancelBranches():
                return self._perform_branch(effect)
            case _:
                assert_never(effect)

    def _perform_branch(self, effect: StartBranch | AwaitBranch | CancelBranches) -> Any:
        branches = self._branches or Branches(self._scope.invocation, self._scope.fiber)
        self._branches = branches
        match effect:
            case StartBranch():
                return branches.start(effect)
            case AwaitBranch():
                return branches.wait_ended()
            case CancelBranches():
                return branches.cancel()
            case _:
                assert_never(effect)


def _run_step(body: Callable[[], Any]) -> Any:
    def run() -> Any:
        step_running.set(True)
        return call_user_code(body)

    return call_in_copy(run)
