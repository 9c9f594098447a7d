"""The branches of one batch as threads, which run side by side and end one by one."""

from collections import deque
from typing import Final

from perdure.exceptions import SuspendExecution
from perdure.invocation.fibers import Fiber
from perdure.invocation.state import InvocationState
from perdure.operations.program import BranchEnd, StartBranch

# A branch that waits in place keeps its thread. When an invocation has this many threads, further
# branches do not wait in place: they are parked, and replayed in the next invocation.
IN_PLACE_MAX: Final = 256


class Branches:
    """Runs the branches of a batch; `fiber` is that of the batch itself.

    Each runs in a thread of its own, with a copy of the context variables of the batch.
    """

    def __init__(self, invocation: InvocationState, fiber: Fiber) -> None:
        self._invocation = invocation
        self._fiber = fiber
        self._ends: deque[BranchEnd] = deque()

    def start(self, start: StartBranch) -> None:
        """Start a branch. Raises control flow when the invocation has ended."""
        invocation = self._invocation
        with invocation.lock:
            invocation.require_open(self._fiber)
            parks = invocation.threads.busy >= IN_PLACE_MAX
            branch = invocation.fibers.add(self._fiber, start.operation_id, parks=parks)
        invocation.threads.start(lambda: self._run(start, branch))

    def wait_ended(self) -> BranchEnd:
        """Wait until one more branch has ended, and return its end.

        Raises control flow when no fiber of the invocation has anything to do meanwhile, and when
        this one parks and its branches are parked.
        """
        invocation = self._invocation
        with invocation.lock:
            while not self._ends:
                invocation.require_open(self._fiber)
                if self._fiber.parks and not self._fiber.children:
                    self._fiber.parked = True
                    invocation.require_open(self._fiber)
                invocation.pause(self._fiber, None, None)
            return self._ends.popleft()

    def cancel(self) -> None:
        """Cancel all branches that have not ended: they stop at their next durable call."""
        self._invocation.cancel_children(self._fiber)

    def _run(self, start: StartBranch, branch: Fiber) -> None:
        try:
            end = BranchEnd(start.index, value=start.body(branch))
        except BaseException as error:  # noqa: BLE001 - raised where the branch is awaited
            end = BranchEnd(start.index, error=error)
        if branch.parked:  # a body may catch control flow, but it has not ended
            end = BranchEnd(start.index, error=SuspendExecution("parked"))
        invocation = self._invocation
        with invocation.lock:
            if not branch.cancelled:
                self._ends.append(end)
                invocation.fibers.wake(self._fiber)
            invocation.fibers.end(branch)
