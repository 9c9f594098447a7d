"""The shell that blocks: performs the effects of programs on the calling thread."""

from collections.abc import Callable
from typing import Any, TypeVar, assert_never, cast

from perdure.drivers.blocking_branches import Branches
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.scope import Scope, step_running
from perdure.operations.program import (
    AbandonBranches,
    AwaitBranch,
    Commit,
    Effect,
    Live,
    Nest,
    Program,
    Replayed,
    Resumed,
    Run,
    Send,
    StartBranch,
    StepFinished,
    Suspend,
)
from perdure.protocol.invocation import InvocationLost

T = TypeVar("T")


def perform(scope: Scope, program: Program[T]) -> T:
    """Carry `program` out and return its value; what cannot be repaired ends the invocation."""
    try:
        return _Performance(scope).perform(program)
    except (InvocationLost, ExecutionError, InvocationError) as error:
        scope.turn.settle_failure(scope.caller().strand, error)
        raise


class _Performance:
    """One program being carried out."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._branches: Branches | None = None

    def perform(self, program: Program[T]) -> T:
        answer: object = None
        failure: BaseException | None = None
        while True:
            try:
                effect = program.send(answer) if failure is None else program.throw(failure)
            except StopIteration as stop:
                return cast("T", stop.value)
            try:
                answer, failure = self._do(effect), None
            except BaseException as error:  # noqa: BLE001 - the program decides what it means
                answer, failure = None, error

    def _do(self, effect: Effect) -> Any:
        scope = self._scope
        match effect:
            case Send(update):
                return scope.turn.send(scope.strand, update)
            case Commit(update):
                return scope.turn.commit(scope.strand, update)
            case Run(body):
                return _run_step(body)
            case Live() | Resumed():
                return scope.note_place(effect)
            case Replayed() | StepFinished():
                return scope.count(effect)
            case Suspend():
                return scope.turn.wait_changed(scope.caller().strand, effect)
            case Nest(body):
                return body()
            case StartBranch() | AwaitBranch() | AbandonBranches():
                return self._do_branch(effect)
            case _:
                assert_never(effect)

    def _do_branch(self, effect: StartBranch | AwaitBranch | AbandonBranches) -> Any:
        branches = self._branches or Branches(self._scope.turn, self._scope.strand)
        self._branches = branches
        match effect:
            case StartBranch():
                return branches.start(effect)
            case AwaitBranch():
                return branches.wait_ended()
            case AbandonBranches():
                return branches.abandon()
            case _:
                assert_never(effect)


def _run_step(body: Callable[[], Any]) -> Any:
    token = step_running.set(True)
    try:
        return body()
    finally:
        step_running.reset(token)
