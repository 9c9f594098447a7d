"""The shell that awaits: performs the effects of programs in the calling task."""

import asyncio
from collections import deque
from typing import Any, TypeVar, assert_never, cast

from perdure.drivers.idle import Rest
from perdure.drivers.tasks import Crew, awaited
from perdure.exceptions import ExecutionError, InvocationError
from perdure.invocation.fibers import Strand
from perdure.invocation.scope import Scope
from perdure.operations.program import (
    AbandonBranches,
    AwaitBranch,
    BranchEnd,
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


async def perform(crew: Crew, scope: Scope, program: Program[T]) -> T:
    """Carry `program` out and return its value; what cannot be repaired ends the invocation."""
    try:
        return await _Performance(crew, scope).perform(program)
    except (InvocationLost, ExecutionError, InvocationError) as error:
        crew.turn.settle_failure(scope.caller().strand, error)
        raise


class _Performance:
    """One program being carried out."""

    def __init__(self, crew: Crew, scope: Scope) -> None:
        self._crew = crew
        self._scope = scope
        self._branches: _Branches | None = None

    async def perform(self, program: Program[T]) -> T:
        answer: object = None
        failure: BaseException | None = None
        while True:
            try:
                effect = program.send(answer) if failure is None else program.throw(failure)
            except StopIteration as stop:
                return cast("T", stop.value)
            answer, failure = await self._answer(effect)

    async def _answer(self, effect: Effect) -> tuple[Any, BaseException | None]:
        try:
            return await self._do(effect), None
        except BaseException as error:  # noqa: BLE001 - the program decides what it means
            return None, error

    async def _do(self, effect: Effect) -> Any:
        scope, crew = self._scope, self._crew
        match effect:
            case Send(update):
                return scope.turn.send(scope.strand, update)
            case Commit(update):
                return await crew.commit(scope.strand, update)
            case Suspend():
                return await crew.wait_changed(scope.caller().strand, effect)
            case Run(body):
                return await crew.run_step(body)
            case Nest(body):
                return await awaited(body())
            case StartBranch() | AwaitBranch() | AbandonBranches():
                return await self._do_branch(effect)
            case Live() | Resumed():
                return scope.note_place(effect)
            case Replayed() | StepFinished():
                return scope.count(effect)
            case _:
                assert_never(effect)

    async def _do_branch(self, effect: StartBranch | AwaitBranch | AbandonBranches) -> Any:
        branches = self._branches or _Branches(self._crew, self._scope.strand)
        self._branches = branches
        match effect:
            case StartBranch():
                return branches.start(effect)
            case AwaitBranch():
                return await branches.wait_ended()
            case AbandonBranches():
                return branches.abandon()
            case _:
                assert_never(effect)


class _Branches:
    """The branches of one batch: tasks that run side by side, and whose ends arrive one by one."""

    def __init__(self, crew: Crew, strand: Strand) -> None:
        self._turn = crew.turn
        self._strand = strand
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._ends: deque[BranchEnd] = deque()
        self._awaited: Rest | None = None

    def start(self, start: StartBranch) -> None:
        """Begin a branch. Raises control flow when the invocation has ended."""
        turn = self._turn
        with turn.lock:
            turn.require_open(self._strand)
            branch = turn.strands.add(self._strand, start.operation_id, parks=False)
        task = asyncio.create_task(awaited(start.body(branch)))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._end(done, start, branch))

    async def wait_ended(self) -> BranchEnd:
        """Return the end of one more branch, when there is one."""
        while not self._ends:
            self._awaited = Rest()
            await self._awaited
        return self._ends.popleft()

    def abandon(self) -> None:
        """Cancel all branches that have not ended; nothing more of them is recorded."""
        self._turn.abandon_below(self._strand)
        for task in self._tasks:
            task.cancel()

    def _end(self, task: "asyncio.Task[Any]", start: StartBranch, branch: Strand) -> None:
        del self._tasks[task]
        with self._turn.lock:
            self._turn.strands.end(branch)
        self._ends.append(_end_of(task, start.index))
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


def _end_of(task: "asyncio.Task[Any]", index: int) -> BranchEnd:
    if task.cancelled():
        return BranchEnd(index, error=asyncio.CancelledError())
    error = task.exception()
    return BranchEnd(index, error=error) if error is not None else BranchEnd(index, task.result())
