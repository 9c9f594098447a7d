"""Which threads of one invocation go on, and which wait: its strands.

A handler is one strand; every branch of a map or parallel is one more while it runs.

    RUNNING <── wake ──┐
       │ └──── pause ──> WAITING      for an operation to change, or for a branch to end
      end
       v
     ENDED

An invocation has something to do as long as a strand runs. Strands below a batch that is complete
are *abandoned*: they count no longer, and learn of it at their next durable call. This is plain
bookkeeping, no thread is started here; whoever calls holds `lock`.
"""

import threading
from collections.abc import Iterable
from enum import Enum


class Place(Enum):
    """What a strand does."""

    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


class Strand:
    """One thread of a handler. `bell` rings whenever what it waits for may have come.

    One that `parks` does not wait for operations: it unwinds, and is replayed another time. Once it
    is `parked`, it can do nothing more.
    """

    def __init__(
        self,
        lock: threading.Lock,
        above: "Strand | None" = None,
        operation_id: str = "",
        *,
        parks: bool = False,
    ) -> None:
        self.above = above
        self.operation_id = operation_id
        self.parks: bool = parks or (above is not None and above.parks)
        self.below: dict[Strand, None] = {}
        self.bell = threading.Condition(lock)
        self.place = Place.RUNNING
        self.abandoned = False
        self.parked = False
        self.awaited_id: str | None = None

    @property
    def counts(self) -> bool:
        """Whether the invocation has something to do because of this strand."""
        return self.place is Place.RUNNING and not self.abandoned


class Strands:
    """All strands of one invocation. `running` is how many keep it going."""

    def __init__(self, lock: threading.Lock) -> None:
        self.root = Strand(lock)
        self.running = 1
        self._lock = lock
        self._waiting: dict[str | None, dict[Strand, None]] = {}

    def add(self, above: Strand, operation_id: str, *, parks: bool) -> Strand:
        """Begin a branch of `above`, running."""
        strand = Strand(self._lock, above, operation_id, parks=parks)
        strand.abandoned = above.abandoned
        above.below[strand] = None
        self.running += strand.counts
        return strand

    def pause(self, strand: Strand, awaited_id: str | None = None) -> None:
        """Let it wait: for an operation, or else for one of its branches."""
        self._move(strand, Place.WAITING)
        strand.awaited_id = awaited_id
        self._waiting.setdefault(awaited_id, {})[strand] = None

    def wake(self, strand: Strand) -> None:
        """Let it go on if it waits."""
        if strand.place is not Place.WAITING:
            return
        waiting = self._waiting[strand.awaited_id]
        del waiting[strand]
        if not waiting:
            del self._waiting[strand.awaited_id]
        self._move(strand, Place.RUNNING)
        strand.bell.notify_all()

    def end(self, strand: Strand) -> None:
        """Note that a branch's thread has left its body."""
        self._move(strand, Place.ENDED)
        if strand.above is not None:
            del strand.above.below[strand]

    def abandon_below(self, strand: Strand) -> None:
        """Let all branches of `strand`, and theirs, stop at their next durable call."""
        for branch in strand.below:
            self.running -= branch.counts
            branch.abandoned = True
            self.wake(branch)
            self.abandon_below(branch)

    def wake_for(self, operation_ids: Iterable[str | None]) -> None:
        """Let every strand go on that waits for one of these operations."""
        for operation_id in operation_ids:
            for strand in list(self._waiting.get(operation_id, ())):
                self.wake(strand)

    def wake_all(self) -> None:
        """Let every strand go on: the invocation has ended, and each finds that out by itself."""
        self.wake_for(list(self._waiting))

    def _move(self, strand: Strand, place: Place) -> None:
        self.running -= strand.counts
        strand.place = place
        self.running += strand.counts
