"""One context's place in an execution: whose ids it hands out, and whether it is still replaying.

This is the blocking shell around the operations' programs: it performs their effects on the calling
thread.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar, assert_never, cast

from perdure.branches import Branches
from perdure.delivery import TurnPassed
from perdure.exceptions import ExecutionError, InvocationError, NonDeterministicExecutionError
from perdure.identity import Identity, OperationIds, check_name, check_recorded, operation_id
from perdure.program import (
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
from perdure.strand import Strand
from perdure.turn import Turn
from perdure_core.model import OPERATION_OPEN, Operation, OperationType

T = TypeVar("T")

_current: ContextVar["Scope | None"] = ContextVar("perdure_scope", default=None)
_step_running: ContextVar[bool] = ContextVar("perdure_step_running", default=False)


class Scope:
    """Identifies the durable calls of one context, and carries their programs out.

    A `closed` scope belongs to a context that has ended: it can only repeat what is recorded.
    `prefix` is what its ids are made of: the id of the operation that the context belongs to.
    `parent_id` is the context that is recorded above its operations: the same, unless the context
    is virtual.
    """

    def __init__(
        self,
        turn: Turn,
        strand: Strand,
        *,
        replaying: bool,
        prefix: str | None = None,
        parent_id: str | None = None,
        title: str = "the handler",
        closed: bool = False,
    ) -> None:
        self.turn = turn
        self.strand = strand
        self.replaying = replaying
        self.parent_id = parent_id
        self.prefix = prefix
        self.title = title
        self.closed = closed
        self._ids = OperationIds(prefix)
        self._branches: Branches | None = None

    def below(self, identity: Identity, *, virtual: bool, strand: Strand | None = None) -> "Scope":
        """Return the scope of the context that is the operation `identity`.

        It replays if its operation has ended, or its first durable call is recorded.
        """
        operation = self.turn.recorded(identity.id)
        first = self.turn.recorded(operation_id(identity.id, 1))
        ended = operation is not None and operation.status not in OPERATION_OPEN
        return Scope(
            self.turn,
            strand or self.strand,
            replaying=ended or first is not None,
            prefix=identity.id,
            parent_id=self.parent_id if virtual else identity.id,
            title=identity.describe(),
            closed=ended or (virtual and self.closed),
        )

    def carried_by(self, strand: Strand) -> "Scope":
        """Return this scope for another strand: a branch records its own context with it."""
        return Scope(
            self.turn,
            strand,
            replaying=self.replaying,
            prefix=self.prefix,
            parent_id=self.parent_id,
            title=self.title,
            closed=self.closed,
        )

    def run(self, body: Callable[[], T]) -> T:
        """Call `body`; meanwhile the durable calls of this thread belong to this scope alone."""
        token = _current.set(self)
        try:
            return body()
        finally:
            _current.reset(token)

    def identify(self, kind: OperationType, sub_type: str, name: str | None) -> Identity:
        """Give the call that arrives now its place.

        Raises control flow when the invocation has ended, `ValidationError` for a name that is too
        long or not printable ASCII, `ExecutionError` inside a step, and inside the body of another
        context.
        """
        call = f"{sub_type} {name or ''}".rstrip()
        self.enter(call)
        self._require_current(call)
        check_name(name)
        number, id_ = self._ids.take()
        return Identity(
            number=number,
            id=id_,
            type=kind,
            sub_type=sub_type,
            name=name,
            parent_id=self.parent_id,
        )

    def enter(self, call: str) -> None:
        """Let a durable call begin; raise control flow, or `ExecutionError` inside a step."""
        self.turn.require_open(self._caller().strand)
        if _step_running.get():
            self._refuse(
                "A step cannot contain a durable operation: "
                f"{call} was asked for inside a step's body. Return from the step first."
            )

    def _require_current(self, call: str) -> None:
        current = self._caller()
        if current is not self:
            self._refuse(
                f"{call} was asked of the context of {self.title} while the body of "
                f"{current.title} runs. Ask the context which that body was given."
            )

    def _refuse(self, message: str) -> NoReturn:
        error = ExecutionError(message)
        self.turn.settle_failure(self._caller().strand, error)
        raise error

    def _caller(self) -> "Scope":
        """Return the scope whose body runs in this thread; threads of users have none."""
        current = _current.get()
        return self if current is None or current.turn is not self.turn else current

    def recorded(self, identity: Identity) -> Operation | None:
        """Return what is recorded for a call.

        Raises `NonDeterministicExecutionError`, and ends the invocation, when that is another call.
        """
        operation = self.turn.recorded(identity.id)
        try:
            if operation is not None:
                check_recorded(identity, operation)
            elif self.closed:
                raise NonDeterministicExecutionError(
                    f"{identity.describe()} is asked for in {self.title}, which has ended without"
                    f" it. Operation {identity.id}.",
                    identity.id,
                )
        except ExecutionError as error:
            self.turn.settle_failure(self.strand, error)
            raise
        return operation

    def recorded_context(self, identity: Identity, *, virtual: bool) -> Operation | None:
        """Return what is recorded for a context.

        Raises as `recorded` does, also when the context was virtual and is so no more, or the
        reverse.
        """
        operation = None if virtual else self.recorded(identity)
        unrecorded = self.turn.recorded(identity.id) is None
        below = self.turn.recorded(operation_id(identity.id, 1)) is not None
        if (virtual and not unrecorded) or (not virtual and unrecorded and below):
            error = NonDeterministicExecutionError(
                f"{identity.describe()} {'is' if virtual else 'is not'} recorded as an operation of"
                f" its own, and the code asks for one that is {'' if virtual else 'not '}virtual."
                f" Operation {identity.id}.",
                identity.id,
            )
            self.turn.settle_failure(self.strand, error)
            raise error
        return operation

    def perform(self, program: Program[T]) -> T:
        """Carry `program` out and return its value; what cannot be repaired ends the invocation."""
        try:
            return self._perform(program)
        except (TurnPassed, ExecutionError, InvocationError) as error:
            self.turn.settle_failure(self._caller().strand, error)
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
                return self.turn.send(self.strand, update)
            case Commit(update):
                return self.turn.commit(self.strand, update)
            case Suspend():
                return self.turn.wait_changed(self._caller().strand, effect)
            case Run(body):
                return _run_step(body)
            case Nest(body):
                return body()
            case StartBranch() | AwaitBranch() | AbandonBranches():
                return self._do_branch(effect)
            case Live() | Resumed():
                return self._note_place(effect)
            case Replayed() | StepFinished():
                return self._count(effect)
            case _:
                assert_never(effect)

    def _do_branch(self, effect: StartBranch | AwaitBranch | AbandonBranches) -> Any:
        branches = self._branches = self._branches or Branches(self.turn, self.strand)
        match effect:
            case StartBranch():
                return branches.start(effect)
            case AwaitBranch():
                return branches.wait_ended()
            case AbandonBranches():
                return branches.abandon()
            case _:
                assert_never(effect)

    def _note_place(self, effect: Live | Resumed) -> None:
        if isinstance(effect, Live) or self.turn.recorded(self._ids.peek()) is None:
            self.replaying = False

    def _count(self, effect: Replayed | StepFinished) -> None:
        observer = self.turn.observer
        if observer is None:
            return
        with self.turn.lock:  # observers count, and need not know of threads
            if isinstance(effect, Replayed):
                observer.operation_replayed()
            else:
                observer.step_finished(effect.outcome)


def _run_step(body: Callable[[], Any]) -> Any:
    token = _step_running.set(True)
    try:
        return body()
    finally:
        _step_running.reset(token)
