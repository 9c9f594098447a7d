"""Fibers of one invocation: which branches of a handler run, wait, or are cancelled.

A handler is one fiber; every branch of a map, parallel or race is one more while it runs.

    RUNNING <── wake ──┐
       │ └──── pause ──> WAITING      for an operation to change, or for a branch to end
      end
       v
     ENDED

An invocation has something to do as long as a fiber runs. Fibers below a batch that is complete
are *cancelled*: they are not active any more, and find out at their next durable call. This is
bookkeeping only: no thread starts here. The caller holds `lock`.
"""

import threading
from collections.abc import Iterable
from enum import Enum


class FiberStatus(Enum):
    """What a fiber does."""

    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


class Fiber:
    """One line of control in a handler. `condition` is notified when its wait may be over.

    A fiber that `parks` does not wait for operations: it unwinds, and is replayed later. Once it is
    `parked`, it can do nothing more.
    """

    def __init__(
        self,
        lock: threading.Lock,
        parent: "Fiber | None" = None,
        operation_id: str = "",
        *,
        parks: bool = False,
    ) -> None:
        self.parent = parent
        self.operation_id = operation_id
        self.parks: bool = parks or (parent is not None and parent.parks)
        self.children: dict[Fiber, None] = {}
        self.condition = threading.Condition(lock)
        self.status = FiberStatus.RUNNING
        self.cancelled = False
        self.parked = False
        self.waiting_for: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether the invocation has something to do because of this fiber."""
        return self.status is FiberStatus.RUNNING and not self.cancelled


class FiberTree:
    """All fibers of one invocation. `running` is how many keep it going."""

    def __init__(self, lock: threading.Lock) -> None:
        self.root = Fiber(lock)
        self.running = 1
        self._lock = lock
        self._waiting: dict[str | None, dict[Fiber, None]] = {}

    def add(self, parent: Fiber, operation_id: str, *, parks: bool) -> Fiber:
        """Add a branch of `parent`, running."""
        fiber = Fiber(self._lock, parent, operation_id, parks=parks)
        fiber.cancelled = parent.cancelled
        parent.children[fiber] = None
        self.running += fiber.is_active
        return fiber

    def pause(self, fiber: Fiber, waiting_for: str | None = None) -> None:
        """Mark a fiber as waiting: for an operation, or else for one of its branches."""
        self._move(fiber, FiberStatus.WAITING)
        fiber.waiting_for = waiting_for
        self._waiting.setdefault(waiting_for, {})[fiber] = None

    def wake(self, fiber: Fiber) -> None:
        """Resume a fiber if it waits."""
        if fiber.status is not FiberStatus.WAITING:
            return
        waiting = self._waiting[fiber.waiting_for]
        del waiting[fiber]
        if not waiting:
            del self._waiting[fiber.waiting_for]
        self._move(fiber, FiberStatus.RUNNING)
        fiber.condition.notify_all()

    def end(self, fiber: Fiber) -> None:
        """Record that a branch has left its body."""
        self._move(fiber, FiberStatus.ENDED)
        if fiber.parent is not None:
            del fiber.parent.children[fiber]

    def cancel_children(self, fiber: Fiber) -> None:
        """Cancel all branches of `fiber`, and theirs: they stop at their next durable call."""
        for branch in fiber.children:
            self.running -= branch.is_active
            branch.cancelled = True
            self.wake(branch)
            self.cancel_children(branch)

    def wake_for(self, operation_ids: Iterable[str | None]) -> None:
        """Resume every fiber that waits for one of these operations."""
        for operation_id in operation_ids:
            for fiber in list(self._waiting.get(operation_id, ())):
                self.wake(fiber)

    def wake_all(self) -> None:
        """Resume every fiber: the invocation has ended, and each finds that out by itself."""
        self.wake_for(list(self._waiting))

    def _move(self, fiber: Fiber, status: FiberStatus) -> None:
        self.running -= fiber.is_active
        fiber.status = status
        self.running += fiber.is_active
