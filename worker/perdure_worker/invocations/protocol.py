"""Protocol of one invocation: which call may be sent next, and what an answer changes.

    LOADING ──last page──▶ RUNNING ──revoked──▶ REVOKED
       │                      │                    │
       └──────────────────────┴──── handler ended ─┴─▶ ENDING ──answered──▶ CLOSED
       └──────────────────────┴────── handed back ─┴─▶ RETURNING ──token taken──▶ CLOSED

From every phase: CLOSED, when the invocation is lost to another worker. LOADING ends without a
handler when its state cannot be read. A revoked invocation records nothing more; it only ends, with
the token that it had.

Must stay true:
- At most one call is unanswered, because each needs the token that the one before returned.
- Updates go out in the order in which they were submitted, and Complete after all of them.
- Updates that were submitted together go out in one call: all of them are recorded, or none.
- A call that goes out again is the same call: same token, same client token, same updates.
- Every waiter is returned exactly once, with the answer that settles it.

No clock, no network, no threads: the caller reports what happened and asks what to send. A waiter
is any value that the caller wants back when a submission is settled.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, Generic, TypeVar

import msgspec

from perdure_core.commands import CompletionStatus
from perdure_core.limits import CHECKPOINT_UPDATES_MAX
from perdure_core.model import ErrorObject
from perdure_proto.v1 import worker_pb2

# The server accepts larger calls, but they delay all others on the stream.
CALL_BYTES_MAX: Final = 768 * 1_024

Waiter = TypeVar("Waiter")


class Phase(Enum):
    """Phase of an invocation."""

    LOADING = "loading"
    RUNNING = "running"
    REVOKED = "revoked"
    ENDING = "ending"
    RETURNING = "returning"
    CLOSED = "closed"


EDGES: Final = frozenset(
    {
        (Phase.LOADING, Phase.RUNNING),
        (Phase.LOADING, Phase.ENDING),
        (Phase.LOADING, Phase.RETURNING),
        (Phase.LOADING, Phase.CLOSED),
        (Phase.RUNNING, Phase.REVOKED),
        (Phase.RUNNING, Phase.ENDING),
        (Phase.RUNNING, Phase.RETURNING),
        (Phase.RUNNING, Phase.CLOSED),
        (Phase.REVOKED, Phase.ENDING),
        (Phase.REVOKED, Phase.RETURNING),
        (Phase.REVOKED, Phase.CLOSED),
        (Phase.ENDING, Phase.CLOSED),
        (Phase.RETURNING, Phase.CLOSED),
    }
)


class Completion(msgspec.Struct, frozen=True):
    """How the invocation ended."""

    status: CompletionStatus
    result: str | None = None
    error: ErrorObject | None = None


class CheckpointCall(msgspec.Struct, frozen=True):
    """Updates to record, all or none."""

    token: str
    client_token: str
    updates: tuple[worker_pb2.OperationUpdate, ...]


class CompleteCall(msgspec.Struct, frozen=True):
    """The end of the invocation."""

    token: str
    completion: Completion


class StateCall(msgspec.Struct, frozen=True):
    """The next page of the recorded operations."""

    token: str
    marker: str


Call = CheckpointCall | CompleteCall | StateCall


class _Submission(msgspec.Struct, Generic[Waiter], frozen=True):
    """Updates submitted together. None at all is a refresh."""

    updates: tuple[worker_pb2.OperationUpdate, ...]
    size: int
    waiter: Waiter


class InvocationProtocol(Generic[Waiter]):
    """The calls that are still to be sent for one invocation."""

    def __init__(self, token: str, marker: str = "") -> None:
        self.token = token
        self.phase = Phase.LOADING if marker else Phase.RUNNING
        self._marker = marker
        self._queue: deque[_Submission[Waiter]] = deque()
        self._queued_updates = 0
        self._flush_wanted = False
        self._completion: Completion | None = None
        self._call: Call | None = None
        self._call_waits = False
        self._in_call: tuple[_Submission[Waiter], ...] = ()

    @property
    def closed(self) -> bool:
        """Whether the invocation is over: later submissions are refused."""
        return self.phase is Phase.CLOSED

    @property
    def unanswered(self) -> Call | None:
        """The call whose answer counts; answers to any other come too late."""
        return self._call

    @property
    def ready(self) -> bool:
        """Whether `take_call` would return a call now."""
        if self.phase is Phase.CLOSED:
            return False
        if self._call is not None:
            return self._call_waits
        match self.phase:
            case Phase.RUNNING:
                return bool(self._queue) and (self._flush_wanted or self._over_full)
            case Phase.LOADING | Phase.ENDING:
                return True
            case _:
                return False

    @property
    def lingers(self) -> bool:
        """Whether queued updates wait for more; call `flush` when they have waited long enough."""
        return self.phase is Phase.RUNNING and bool(self._queue) and not self._flush_wanted

    def submit(
        self, updates: Sequence[worker_pb2.OperationUpdate], waiter: Waiter, *, urgent: bool
    ) -> None:
        """Queue `updates`. `waiter` comes back when all of them are settled."""
        assert self.phase is Phase.RUNNING
        size = sum(update.ByteSize() for update in updates)
        self._queue.append(_Submission(tuple(updates), size, waiter))
        self._queued_updates += len(updates)
        self._flush_wanted = self._flush_wanted or urgent

    def flush(self) -> None:
        """Send what is queued without waiting for more."""
        self._flush_wanted = bool(self._queue)

    def finish(self, completion: Completion) -> None:
        """End the invocation once everything that was submitted is recorded."""
        self._move(Phase.ENDING)
        self._completion = completion

    def hand_back(self) -> list[Waiter]:
        """Hand the invocation back unfinished; return the waiters of what was not sent whole.

        `take_returned_token` says when the token can go back.
        """
        self._move(Phase.RETURNING)
        if isinstance(self._call, StateCall):
            self._call = None
        return self._take_unsent()

    def take_returned_token(self) -> str | None:
        """Return the token to hand back, and close, unless a call is still unanswered."""
        if self.phase is not Phase.RETURNING or self._call is not None:
            return None
        self._move(Phase.CLOSED)
        return self.token

    def take_call(self, client_token: str) -> Call | None:
        """Return what to send now. Only a new checkpoint bears `client_token`."""
        if not self.ready:
            return None
        if self._call is None:
            self._call = self._next_call(client_token)
        self._call_waits = False
        return self._call

    def send_again(self) -> None:
        """Make the unanswered call ready again: no answer will come, or the server said retry."""
        self._call_waits = self._call is not None

    def page_received(self, next_marker: str) -> None:
        """Record an answered page; an empty marker means that it was the last."""
        assert isinstance(self._call, StateCall)
        self._call = None
        self._marker = next_marker
        if not next_marker:
            self._move(Phase.RUNNING)

    def checkpoint_accepted(self, next_token: str) -> list[Waiter]:
        """Record that the server accepted the updates."""
        settled = _waiters(self._answered())
        self.token = next_token
        return settled

    def checkpoint_accepted_last(self) -> tuple[list[Waiter], list[Waiter]]:
        """Record that the server accepted the updates and revoked the token.

        Returns the settled waiters, and those whose updates will not be recorded.
        """
        settled = _waiters(self._answered())
        unsent = self._take_unsent()
        if self.phase is Phase.RUNNING:
            self._move(Phase.REVOKED)
        elif self.phase is Phase.ENDING and unsent:
            # How the handler ended rests on updates that are not recorded: it has to run again.
            self._completion = Completion(CompletionStatus.PENDING)
        return settled, unsent

    def refused(self) -> list[Waiter]:
        """Record that the call had no effect and the token stays valid; return its waiters."""
        return _waiters(self._answered())

    def completed(self) -> None:
        """Record that the server accepted the completion."""
        self._answered()
        self._move(Phase.CLOSED)

    def finish_instead(self, completion: Completion) -> None:
        """Replace the completion that was passed to `finish`."""
        assert self.phase is Phase.ENDING
        assert not isinstance(self._call, CompleteCall)
        self._completion = completion

    def close(self) -> list[Waiter]:
        """Close a lost invocation; return every waiter that is not settled."""
        unsettled = [*_waiters(self._in_call), *self._take_unsent()]
        self._call = None
        self._in_call = ()
        if self.phase is not Phase.CLOSED:
            self._move(Phase.CLOSED)
        return unsettled

    @property
    def _over_full(self) -> bool:
        return self._queued_updates >= CHECKPOINT_UPDATES_MAX

    def _next_call(self, client_token: str) -> Call:
        if self.phase is Phase.LOADING:
            return StateCall(self.token, self._marker)
        if self._queue:
            self._in_call = self._take_submissions()
            updates = tuple([update for each in self._in_call for update in each.updates])
            return CheckpointCall(self.token, client_token, updates)
        assert self._completion is not None
        return CompleteCall(self.token, self._completion)

    def _take_submissions(self) -> tuple[_Submission[Waiter], ...]:
        """Return as many as share a call; one that is larger than that goes alone."""
        taken: list[_Submission[Waiter]] = []
        size = updates = 0
        while self._queue:
            size += self._queue[0].size
            updates += len(self._queue[0].updates)
            if taken and (size > CALL_BYTES_MAX or updates > CHECKPOINT_UPDATES_MAX):
                break
            taken.append(self._queue.popleft())
            self._queued_updates -= len(taken[-1].updates)
        # What did not fit is just as urgent.
        self._flush_wanted = self._flush_wanted and bool(self._queue)
        return tuple(taken)

    def _take_unsent(self) -> list[Waiter]:
        unsent = _waiters(self._queue)
        self._queue.clear()
        self._queued_updates = 0
        return unsent

    def _answered(self) -> tuple[_Submission[Waiter], ...]:
        assert self._call is not None
        self._call = None
        answered, self._in_call = self._in_call, ()
        return answered

    def _move(self, phase: Phase) -> None:
        assert (self.phase, phase) in EDGES, f"{self.phase} → {phase}"
        self.phase = phase


def _waiters(submissions: Iterable[_Submission[Waiter]]) -> list[Waiter]:
    return [submission.waiter for submission in submissions]
