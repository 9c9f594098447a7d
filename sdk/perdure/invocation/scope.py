"""Scope of one context: the ids of its durable calls, and whether it is still replaying.

It performs nothing: that is for the drivers, of which one blocks threads and the other awaits.
"""

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from contextvars import ContextVar
from threading import current_thread, get_ident
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from perdure.exceptions import (
    ExecutionError,
    InvalidStateError,
    NonDeterministicExecutionError,
)
from perdure.invocation.fibers import Fiber
from perdure.invocation.state import InvocationState
from perdure.operations.identity import (
    Identity,
    OperationIds,
    check_name,
    check_recorded,
    describe_recorded,
    differing_fields,
    operation_id,
)
from perdure.operations.program import Replayed, ReplayEnded, Resumed, StepFinished
from perdure.primitives.bound_function import named, original_name
from perdure.primitives.call_site import Call, drops_value, user_line
from perdure.primitives.deterministic import deterministic_name
from perdure_core.model import OPERATION_OPEN, Operation, OperationType

T = TypeVar("T")

_current: ContextVar["Scope | None"] = ContextVar("perdure_scope", default=None)
# The most calls that one message names.
CALLS_SHOWN_MAX: Final = 3
_USES: Final = {
    "durable_step": "context.step",
    "durable_with_child_context": "context.run_in_child_context",
    "durable_wait_for_callback": "context.wait_for_callback",
    "durable_parallel_branch()": "context.parallel",
}

step_running: ContextVar[bool] = ContextVar("perdure_step_running", default=False)


class Scope:
    """Identifies the durable calls of one context.

    A `closed` scope belongs to a context that has ended: it can only repeat what is recorded.
    Its ids are derived from `prefix`, the id of the operation that the context belongs to.
    `parent_id` is recorded as the parent of its operations: the same id, unless the context is
    virtual. `owner` is the task that runs its body, in async handlers.
    """

    def __init__(
        self,
        invocation: InvocationState,
        fiber: Fiber,
        *,
        replaying: bool,
        prefix: str | None = None,
        parent_id: str | None = None,
        description: str = "the handler",
        closed: bool = False,
    ) -> None:
        self.invocation = invocation
        self.fiber = fiber
        self.replaying = replaying
        self.parent_id = parent_id
        self.prefix = prefix
        self.description = description
        self.closed = closed
        self.owner: object = None
        # Durable calls of an async handler that are not awaited yet, by what is performed for each.
        self.unawaited: dict[object, tuple[Coroutine[Any, Any, Any], Call]] = {}
        # The thread that runs the body, while one does.
        self._thread: int | None = None
        self._ids = OperationIds(prefix)
        self._derived: dict[str, int] = {}

    @property
    def is_elsewhere(self) -> bool:
        """Whether the body runs in another thread than this one."""
        return self._thread not in {None, get_ident()}

    @property
    def _is_inside(self) -> bool:
        """Whether this runs inside a body of the same invocation."""
        current = _current.get()
        return current is not None and current.invocation is self.invocation

    def child(self, identity: Identity, *, virtual: bool, fiber: Fiber | None = None) -> "Scope":
        """Return the scope of the child context whose operation is `identity`.

        It replays if its operation has ended, or its first durable call is recorded.
        """
        operation = self.invocation.recorded(identity.id)
        first = self.invocation.recorded(operation_id(identity.id, 1))
        ended = operation is not None and operation.status not in OPERATION_OPEN
        return Scope(
            self.invocation,
            fiber or self.fiber,
            replaying=ended or first is not None,
            prefix=identity.id,
            parent_id=self.parent_id if virtual else identity.id,
            description=identity.describe(),
            closed=ended or (virtual and self.closed),
        )

    def on_fiber(self, fiber: Fiber) -> "Scope":
        """Return this scope for another fiber: a branch records its own context with it."""
        return Scope(
            self.invocation,
            fiber,
            replaying=self.replaying,
            prefix=self.prefix,
            parent_id=self.parent_id,
            description=self.description,
            closed=self.closed,
        )

    def run(self, body: Callable[[], T]) -> T:
        """Call `body`; meanwhile the durable calls of this thread belong to this scope alone."""
        with self.activate():
            return body()

    def activate(self) -> "_Activation":
        """Make this the scope of all durable calls of this thread or task, for the `with` block."""
        self._thread = get_ident()
        return _Activation(self)

    def identify(self, kind: OperationType, sub_type: str, name: str | None) -> Identity:
        """Return the identity of the call that arrives now.

        Raises control flow when the invocation has ended, `ValidationError` for a name that is too
        long or not printable ASCII, `ExecutionError` inside a step, and inside the body of another
        context.
        """
        call = f"{sub_type} {name or ''}".rstrip()
        self.enter(call)
        self._require_current(call)
        if name == "":
            name = self.title(name, sub_type)
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

    def title(self, name: str | None, sub_type: str | None, func: object = None) -> str | None:
        """Return the name of the call that arrives now: `name`, or that of a decorated function.

        An empty name is left for `identify` to refuse, but for a call that is recorded: earlier
        releases took an empty name for none.
        """
        if name != "":
            return named(name, func)
        title = original_name(func)
        return title if self._is_recorded(sub_type, title) else name

    def check_branch_names(self, names: Iterable[str | None], sub_type: str) -> None:
        """Raise `ValidationError` for names of branches of the call that arrives now.

        Empty ones pass in a call that is recorded, as in `title`.
        """
        for name in names:
            if name != "" or not self._is_recorded(sub_type):
                check_name(name)

    def next_is_recorded(self) -> bool:
        """Return whether anything is recorded in the place of the call that arrives now."""
        return self._is_recorded(None)

    def _is_recorded(self, sub_type: str | None, *names: str | None) -> bool:
        """Return whether the call that arrives now is recorded; None and no names stand for any.

        A virtual context is recorded by its first operation.
        """
        place = self._ids.peek()
        recorded = self.invocation.recorded(place)
        if recorded is None:
            return self.invocation.recorded(operation_id(place, 1)) is not None
        return sub_type in {recorded.sub_type, None} and (not names or recorded.name in names)

    def next_deterministic_name(self, kind: str) -> str:
        """Return a name that only the call which arrives now has; the same in every replay.

        Raises as `identify` does.
        """
        self.enter(f"{kind}()")
        self._require_current(f"{kind}()")
        number = self._derived[kind] = self._derived.get(kind, 0) + 1
        return deterministic_name(self.invocation.execution_arn, self.prefix, kind, number)

    def enter(self, call: str) -> None:
        """Check that a durable call may start; raise control flow, or `ExecutionError`.

        Raises `InvalidStateError` in a thread of the user, or in another invocation, when this
        invocation has ended.
        """
        current = self.active()
        if self.invocation.is_over and (current.is_elsewhere or not self._is_inside):
            raise InvalidStateError(
                f"{call} was called in the thread {current_thread().name!r} after the invocation"
                f" of {self.description} had ended, and is not recorded. A context belongs to one"
                " invocation: threads that use it must end before its handler does."
            )
        self.invocation.require_open(current.fiber)
        if step_running.get():
            self.fail_execution(
                f"A step cannot contain a durable operation: {call} was called inside a step. "
                "Return from the step first."
            )

    def _require_current(self, call: str) -> None:
        current = self.active()
        if current is not self:
            self.fail_execution(
                f"{call} was called on the context of {self.description} from inside "
                f"{current.description}. Use the context passed to {current.description}."
            )
        if self.is_elsewhere and not self.next_is_recorded():
            self.fail_execution(
                f"{call} was called on the context of {self.description} in the thread"
                f" {current_thread().name!r}, which the context does not belong to: the order of"
                " its calls could change on replay. Use map() or parallel(), or start the thread"
                " within a step."
            )

    def fail_execution(self, message: str) -> NoReturn:
        """Raise `ExecutionError`, which ends the execution."""
        error = ExecutionError(message)
        self.invocation.terminate_on(self.active().fiber, error)
        raise error

    def active(self) -> "Scope":
        """Return the scope whose body runs in this thread or task; this one in threads of users."""
        current = _current.get()
        return self if current is None or current.invocation is not self.invocation else current

    def recorded(self, identity: Identity) -> Operation | None:
        """Return what is recorded for a call.

        Raises `NonDeterministicExecutionError`, and ends the invocation, when that is another call.
        """
        operation = self.invocation.recorded(identity.id)
        try:
            if operation is not None:
                if differing_fields(identity, operation):
                    check_recorded(_placed(identity), operation)
            elif self.closed:
                requested = _placed(identity).describe_call()
                raise NonDeterministicExecutionError(
                    f"{requested} is not recorded in {self.description}, which has ended."
                    f" Operation {identity.id}.",
                    identity.id,
                )
        except ExecutionError as error:
            self.invocation.terminate_on(self.fiber, error)
            raise
        return operation

    def check_all_replayed(self) -> None:
        """Raise `NonDeterministicExecutionError` when the body ended before a recorded call."""
        operation = self.invocation.recorded(self._ids.peek())
        if operation is None:
            return
        error = NonDeterministicExecutionError(
            f"{self.description} returns before a durable call that is recorded.\n"
            f"  recorded:  {describe_recorded(operation)}\n"
            f"  requested: nothing, {self.description} returns\n"
            "Every replay must make the same durable calls in the same order."
            f" Operation {operation.id}.",
            operation.id,
        )
        self.invocation.terminate_on(self.fiber, error)
        raise error

    def check_all_awaited(self, held: Callable[[], Collection[object]]) -> None:
        """Raise `ExecutionError` when the body ended, and did not await a call that it made.

        `held` returns the coroutines that tasks hold, which end with their tasks.
        """
        if not self.unawaited:
            return
        # A task that was cancelled before it began has closed its coroutine.
        unawaited = [
            (coroutine, call)
            for coroutine, call in self.unawaited.values()
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        ]
        self.unawaited.clear()
        if not unawaited:
            return
        calls = [str(call) for _, call in unawaited]
        in_tasks = held()
        for coroutine, _ in unawaited:
            if coroutine not in in_tasks:
                coroutine.close()  # without the warning of Python, which says less
        more = f" and {len(calls) - CALLS_SHOWN_MAX} more" if len(calls) > CALLS_SHOWN_MAX else ""
        self.fail_execution(
            f"{self.description} ended without awaiting {', '.join(calls[:CALLS_SHOWN_MAX])}{more}:"
            " it did not run. Write `await` before the call, or gather it with others."
        )

    def recorded_context(self, identity: Identity, *, virtual: bool) -> Operation | None:
        """Return what is recorded for a context.

        Raises as `recorded` does, and when the context was recorded as virtual and is no longer,
        or the reverse.
        """
        operation = None if virtual else self.recorded(identity)
        unrecorded = self.invocation.recorded(identity.id) is None
        below = self.invocation.recorded(operation_id(identity.id, 1)) is not None
        if (virtual and not unrecorded) or (not virtual and unrecorded and below):
            recorded, requested = ("is not", "is") if virtual else ("is", "is not")
            error = NonDeterministicExecutionError(
                f"{_placed(identity).describe_call()} {recorded} virtual in the history, but"
                f" {requested} virtual in the code."
                f" Operation {identity.id}.",
                identity.id,
            )
            self.invocation.terminate_on(self.fiber, error)
            raise error
        return operation

    def note_progress(self, effect: ReplayEnded | Resumed) -> None:
        """Note that replay has ended, or may have: log records appear from here on."""
        if isinstance(effect, ReplayEnded) or self.invocation.recorded(self._ids.peek()) is None:
            self.replaying = False

    def notify_observer(self, effect: Replayed | StepFinished) -> None:
        """Notify the observer, if there is one."""
        observer = self.invocation.observer
        if observer is None:
            return
        with self.invocation.lock:  # observers need not be thread-safe
            if isinstance(effect, Replayed):
                observer.operation_replayed()
            else:
                observer.step_finished(effect.outcome)


class _Activation:
    """Makes a scope current. A generator would set the traceback of errors that are frozen."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token = _current.set(self._scope)

    def __exit__(self, *_: object) -> None:
        # A discarded coroutine ends in another context: there is nothing to reset.
        with suppress(ValueError):
            _current.reset(self._token)


def check_value_is_used(function: str, decorator: str) -> None:
    """End the execution when a handler drops what a decorated function returns, which never runs.

    To be called by what the decorator made of the function.
    """
    scope = _current.get()
    if scope is None:
        return
    frame = inspect.currentframe()
    frame = frame and frame.f_back and frame.f_back.f_back
    if frame is None or not drops_value(frame):
        return
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    scope.fail_execution(
        f"{function}() was called at {place}, but what it returns is not used, so it never runs."
        f" Pass it on: {_USES[decorator]}({function}(…))."
    )


def _placed(identity: Identity) -> Identity:
    """Return the identity with the line of user code that makes the call."""
    return msgspec.structs.replace(identity, line=user_line(inspect.currentframe()))
