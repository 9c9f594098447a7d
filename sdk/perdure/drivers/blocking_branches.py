"""The branches of one batch: threads that run side by side, and whose ends arrive one by one."""

from collections import deque
from contextvars import copy_context
from typing import Final

from perdure.exceptions import SuspendExecution
from perdure.invocation.fibers import Strand
from perdure.invocation.state import Turn
from perdure.operations.program import BranchEnd, StartBranch

# A branch that waits in place keeps its thread. When an invocation has so many threads, further
# branches do not wait in place: they are parked, and replayed in the next invocation.
IN_PLACE_MAX: Final = 256


class Branches:
    """Runs the branches of a batch whose own strand is `strand`.

    Each runs in a thread of its own, with a copy of the context variables of the batch.
    """

    def __init__(self, turn: Turn, strand: Strand) -> None:
        self._turn = turn
        self._strand = strand
        self._ends: deque[BranchEnd] = deque()

    def start(self, start: StartBranch) -> None:
        """Begin a branch. Raises control flow when the invocation has ended."""
        turn = self._turn
        with turn.lock:
            turn.require_open(self._strand)
            parks = turn.threads.busy >= IN_PLACE_MAX
            branch = turn.strands.add(self._strand, start.operation_id, parks=parks)
        variables = copy_context()
        turn.threads.start(lambda: variables.run(self._run, start, branch))

    def wait_ended(self) -> BranchEnd:
        """Return the end of one more branch, when there is one.

        Raises control flow when no strand of the invocation has anything to do meanwhile, and when
        this one parks and its branches are parked.
        """
        turn = self._turn
        with turn.lock:
            while not self._ends:
                turn.require_open(self._strand)
                if self._strand.parks and not self._strand.below:
                    self._strand.parked = True
                    turn.require_open(self._strand)
                turn.pause(self._strand, None, None)
            return self._ends.popleft()

    def abandon(self) -> None:
        """Let all branches that have not ended stop at their next durable call."""
        self._turn.abandon_below(self._strand)

    def _run(self, start: StartBranch, branch: Strand) -> None:
        try:
            end = BranchEnd(start.index, value=start.body(branch))
        except BaseException as error:  # noqa: BLE001 - whoever waits for the branch decides
            end = BranchEnd(start.index, error=error)
        if branch.parked:  # whatever a body makes of being parked, it has not ended
            end = BranchEnd(start.index, error=SuspendExecution("parked"))
        turn = self._turn
        with turn.lock:
            if not branch.abandoned:
                self._ends.append(end)
                turn.strands.wake(self._strand)
            turn.strands.end(branch)
