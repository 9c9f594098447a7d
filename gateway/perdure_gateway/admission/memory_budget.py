"""Room for large payloads: what all calls under way may hold in memory together.

A call takes what it needs before it loads or passes on anything large, and is refused when there is
no room: the caller backs off and comes again. Small ones take nothing, since their number is
bounded already. What a call has taken is given back when its answer has left, whatever became of
it.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import grpc.aio

from perdure_gateway.errors import ResourceExhausted

SMALL_BYTES_MAX: Final = 1_024 * 1_024
# Twice the largest call, which is the view of an execution with its input and its result. On its
# way a payload exists a few times over: as message, as text, as what the database is given.
ROOM_BYTES_MAX: Final = 256 * 1_024 * 1_024

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Room:
    """What large payloads may take."""

    def __init__(self, bytes_max: int = ROOM_BYTES_MAX) -> None:
        self.free = bytes_max

    def loan(self) -> "Loan":
        """Return an empty loan; whoever asks for it gives it back."""
        return Loan(self)

    def loan_of(self, context: _Context) -> "Loan":
        """Return an empty loan that is given back when the call is over."""
        loan = Loan(self)
        # The types of gRPC say that this wants no function.
        call_when_done: Callable[[Callable[[_Context], None]], None] = cast(
            "Any", context
        ).add_done_callback
        call_when_done(loan.end)
        return loan


class Loan:
    """What one call has taken."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0
        self._over = False

    def take(self, size: int) -> None:
        """Take room for so many bytes. Raises ResourceExhausted, and then nothing is taken."""
        if size <= SMALL_BYTES_MAX or self._over:
            return
        if size > self._room.free:
            raise ResourceExhausted(
                f"{size:,} bytes find no room beside the large payloads that are under way;"
                " try again in a moment"
            )
        self._room.free -= size
        self._bytes += size

    def end(self, _call: _Context) -> None:
        """Give everything back when the call is over."""
        self.give_back()

    def give_back(self) -> None:
        """Give everything back; what is asked for later has nobody to answer to."""
        self._over = True
        self._room.free += self._bytes
        self._bytes = 0
