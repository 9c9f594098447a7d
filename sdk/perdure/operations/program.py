"""Programs and effects: operations as generators that yield what must be done, without doing it.

Each operation is a generator, a *program*: it yields effects and is sent their answers. All rules
(what is recorded when, what is awaited, what a replay returns, how errors come back) are in the
programs. A driver performs the effects: it blocks a thread, or awaits; nothing else differs between
the two. An effect that fails is thrown into the program at the `yield` that requested it.
"""

from collections.abc import Callable, Generator
from typing import Any, Literal, TypeVar

import msgspec

from perdure_core.model import Operation, OperationStatus, OperationUpdate

T = TypeVar("T")


class Send(msgspec.Struct, frozen=True):
    """Record the update after all earlier ones, without waiting."""

    update: OperationUpdate


class Commit(msgspec.Struct, frozen=True):
    """Record the update and wait until it is durable. Answer: the `Operation` as it stands then."""

    update: OperationUpdate


class Suspend(msgspec.Struct, frozen=True):
    """Wait until the status is no longer `seen`; `until_ms`, since 1970, if time changes it.

    Answer: the `Operation` as it stands then, if the driver waits in place; it may end the
    invocation instead.
    """

    operation_id: str
    seen: OperationStatus
    reason: str
    until_ms: int | None = None


class Run(msgspec.Struct, frozen=True):
    """Call user code that makes no durable calls. Answer: what it returns."""

    body: Callable[[], Any]


class RunChild(msgspec.Struct, frozen=True):
    """Call user code that makes durable calls in a child context. Answer: what it returns."""

    body: Callable[[], Any]


class BranchEnd(msgspec.Struct, frozen=True):
    """How the branch at `index` ended: with a value, or else with an error.

    With `SuspendExecution` it has not ended: it is parked until the next invocation.
    """

    index: int
    value: Any = None
    error: BaseException | None = None


class StartBranch(msgspec.Struct, frozen=True):
    """Start a branch beside the others. The driver calls `body` with the fiber of the branch.

    `operation_id` is that of the branch. A driver that runs many branches need not let this one
    wait in place: it may park it, which ends it for this invocation.
    """

    index: int
    operation_id: str
    body: Callable[[Any], Any]


class AwaitBranch(msgspec.Struct, frozen=True):
    """Wait until one more branch has ended, or is parked. Answer: its `BranchEnd`."""


class CancelBranches(msgspec.Struct, frozen=True):
    """Cancel unfinished branches: they stop at their next durable call and record no more."""


class ReplayEnded(msgspec.Struct, frozen=True):
    """Replay of this context has ended.

    From here on code runs for the first time, so log records are emitted.
    """


class Resumed(msgspec.Struct, frozen=True):
    """The context resumed after a suspension; replay has ended if nothing later is recorded."""


class Replayed(msgspec.Struct, frozen=True):
    """A durable call was answered from the record (for the metrics)."""


class StepFinished(msgspec.Struct, frozen=True):
    """An attempt of a step was recorded (for the metrics)."""

    outcome: Literal["succeeded", "failed", "retried"]


Effect = (
    Send
    | Commit
    | Suspend
    | Run
    | RunChild
    | StartBranch
    | AwaitBranch
    | CancelBranches
    | ReplayEnded
    | Resumed
    | Replayed
    | StepFinished
)
Program = Generator[Effect, Any, T]


def commit(update: OperationUpdate) -> Program[Operation]:
    """Record `update`, wait, and return the operation as it stands then."""
    operation: Operation = yield Commit(update)
    return operation


def suspend(operation: Operation, reason: str, until_ms: int | None = None) -> Program[Operation]:
    """Wait until `operation` changes, and return it as it stands then."""
    changed: Operation = yield Suspend(operation.id, operation.status, reason, until_ms)
    return changed
