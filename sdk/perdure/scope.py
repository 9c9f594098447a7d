"""One context's place in an execution: whose ids it hands out, and whether it is still replaying.

This is the blocking shell around the operations' programs: it performs their effects on the calling
thread.
"""

from contextvars import ContextVar
from typing import Any, TypeVar, assert_never, cast

from perdure.delivery import TurnPassed
from perdure.exceptions import ExecutionError, InvocationError
from perdure.identity import Identity, OperationIds, check_name, check_recorded
from perdure.program import (
    Commit,
    Effect,
    Live,
    Program,
    Replayed,
    Resumed,
    Run,
    Send,
    StepFinished,
    Suspend,
)
from perdure.turn import Turn
from perdure_core.model import Operation, OperationType

T = TypeVar("T")

_step_running: ContextVar[bool] = ContextVar("perdure_step_running", default=False)


class Scope:
    """Identifies the durable calls of one context, and carries their programs out."""

    def __init__(self, turn: Turn, *, replaying: bool) -> None:
        self.turn = turn
        self.replaying = replaying
        self.parent_id: str | None = None
        self._ids = OperationIds()

    def identify(self, kind: OperationType, sub_type: str, name: str | None) -> Identity:
        """Give the call that arrives now its place.

        Raises control flow when the invocation has ended, `ValidationError` for a name that is too
        long or not printable ASCII, `ExecutionError` inside a step.
        """
        self.enter(f"{sub_type} {name or ''}".rstrip())
        check_name(name)
        number, operation_id = self._ids.take()
        return Identity(
            number=number,
            id=operation_id,
            type=kind,
            sub_type=sub_type,
            name=name,
            parent_id=self.parent_id,
        )

    def enter(self, call: str) -> None:
        """Let a durable call begin; raise as `identify` does."""
        self.turn.require_open()
        if _step_running.get():
            error = ExecutionError(
                "A step cannot contain a durable operation: "
                f"{call} was asked for inside a step's body. Return from the step first."
            )
            self.turn.settle_failure(error)
            raise error

    def recorded(self, identity: Identity) -> Operation | None:
        """Return what is recorded for a call.

        Raises `NonDeterministicExecutionError`, and ends the invocation, when that is another call.
        """
        operation = self.turn.recorded(identity.id)
        if operation is None:
            return None
        try:
            check_recorded(identity, operation)
        except ExecutionError as error:
            self.turn.settle_failure(error)
            raise
        return operation

    def perform(self, program: Program[T]) -> T:
        """Carry `program` out and return its value; what cannot be repaired ends the invocation."""
        try:
            return self._perform(program)
        except (TurnPassed, ExecutionError, InvocationError) as error:
            self.turn.settle_failure(error)
            raise

    def _perform(self, program: Program[T]) -> T:
        answer: object = None
        failure: BaseException | None = None
        while True:
            try:
                effect = program.send(answer) if failure is None else program.throw(failure)
            except StopIteration as stop:
                return cast("T", stop.value)
            answer, failure = self._answer(effect)

    def _answer(self, effect: Effect) -> tuple[Any, BaseException | None]:
        try:
            return self._do(effect), None
        except BaseException as error:  # noqa: BLE001 - the program decides what it means
            return None, error

    def _do(self, effect: Effect) -> Any:
        match effect:
            case Send(update):
                return self.turn.send(update)
            case Commit(update):
                return self.turn.commit(update)
            case Suspend():
                return self._suspend(effect)
            case Run():
                return _run(effect)
            case Live() | Resumed():
                return self._note_place(effect)
            case Replayed() | StepFinished():
                return self._count(effect)
            case _:
                assert_never(effect)

    def _suspend(self, effect: Suspend) -> Operation:
        self.turn.suspend(effect.reason, effect.until_ms)

    def _note_place(self, effect: Live | Resumed) -> None:
        if isinstance(effect, Live) or self.turn.recorded(self._ids.peek()) is None:
            self.replaying = False

    def _count(self, effect: Replayed | StepFinished) -> None:
        observer = self.turn.observer
        if observer is None:
            return
        if isinstance(effect, Replayed):
            observer.operation_replayed()
        else:
            observer.step_finished(effect.outcome)


def _run(effect: Run) -> Any:
    token = _step_running.set(True)
    try:
        return effect.body()
    finally:
        _step_running.reset(token)
