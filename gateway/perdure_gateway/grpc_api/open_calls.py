"""The gRPC calls in progress: how long each waits for its peer, and whose token it came with.

Must stay true: a call that waits for its peer, to send the request or to take the answer, is given
up after PEER_S_MAX, with what it holds; one whose token is withdrawn ends at once. Calls that wait
for slow peers leave room for others: beyond WAITING_MAX the one that has waited longest ends.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from perdure_host.access.bearer_tokens import Caller, Tokens

# How long a peer may take to send its request, and to take the answer. Clients of Perdure take 15 s
# and one more for each mebibyte of the largest message.
PEER_S_MAX: Final = 180.0
# A quarter of what a server takes at a time; and how long each may take however many wait.
WAITING_MAX: Final = 10_000
WAITING_S_MIN: Final = 10.0

_Call: TypeAlias = "asyncio.Task[Any]"


class OpenCalls:
    """The calls in progress. Each is the task that gRPC runs it in."""

    def __init__(self, now_s: Callable[[], float] | None = None) -> None:
        self._now_s = now_s or _loop_time
        # The one that has waited longest comes first.
        self._waiting: dict[_Call, float] = {}
        self._callers: dict[_Call, Caller] = {}
        self._withdrawn: set[_Call] = set()
        self._changes_seen = 0
        # Ended to make room, and not counted yet.
        self._pushed_out = 0

    def begin(self, caller: Caller | None) -> None:
        """Note the call of this task, whose request is still to come."""
        call = _this_call()
        self._waiting[call] = self._now_s()
        if len(self._waiting) > WAITING_MAX:
            self._push_out_oldest()
        if caller is not None:
            self._callers[call] = caller
        call.add_done_callback(self._end)

    def receive(self) -> Caller | None:
        """Note that the request has come; return the caller."""
        call = _this_call()
        self._waiting.pop(call, None)
        return self._callers.get(call)

    def answer(self) -> None:
        """Note that the answer is on its way."""
        self._waiting[_this_call()] = self._now_s()

    def is_withdrawn(self) -> bool:
        """Return whether the call of this task ends because its token was withdrawn."""
        return _this_call() in self._withdrawn

    def end_late(self) -> int:
        """End the calls whose peers take too long; return how many, with those pushed out."""
        now_s = self._now_s()
        late: list[_Call] = []
        for call, since_s in self._waiting.items():
            if now_s - since_s < PEER_S_MAX:
                break
            late.append(call)
        for call in late:
            del self._waiting[call]
            call.cancel()
        count = len(late) + self._pushed_out
        self._pushed_out = 0
        return count

    def end_withdrawn(self, tokens: Tokens) -> int:
        """End the calls of callers whose tokens are no longer valid; return how many."""
        if tokens.changes == self._changes_seen:
            return 0
        self._changes_seen = tokens.changes
        lost = [call for call, caller in self._callers.items() if not tokens.holds(caller)]
        for call in lost:
            del self._callers[call]
            self._withdrawn.add(call)
            call.cancel()
        return len(lost)

    def _push_out_oldest(self) -> None:
        call, since_s = next(iter(self._waiting.items()))
        if self._now_s() - since_s >= WAITING_S_MIN:
            del self._waiting[call]
            self._pushed_out += 1
            call.cancel()

    def _end(self, call: _Call) -> None:
        self._waiting.pop(call, None)
        self._callers.pop(call, None)
        self._withdrawn.discard(call)


def _this_call() -> _Call:
    call = asyncio.current_task()
    assert call is not None
    return call


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
