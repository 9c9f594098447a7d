"""The memory budget for large payloads: how many bytes all calls in progress may hold together.

A call reserves bytes before it loads or passes on anything large, and is refused when the budget
does not hold them: the caller backs off and tries again. Small payloads reserve nothing, since the
number of calls is bounded already. What waits for a slow worker is held without being refused, and
leaves less for others.

Must stay true: what a call has reserved is released when its response has left, however it ended.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import grpc.aio

from perdure_gateway.errors import ResourceExhausted

SMALL_BYTES_MAX: Final = 1_024 * 1_024
# Twice the largest call, which is the view of an execution with its input and its result. While it
# passes through, a payload exists several times: as message, as text, as database parameter.
BUDGET_BYTES_MAX: Final = 256 * 1_024 * 1_024

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class MemoryBudget:
    """The bytes that large payloads may still use."""

    def __init__(self, bytes_max: int = BUDGET_BYTES_MAX) -> None:
        self.free = bytes_max

    def reservation(self) -> "Reservation":
        """Return an empty reservation, which the caller must release."""
        return Reservation(self)

    def for_call(self, context: _Context) -> "Reservation":
        """Return an empty reservation that is released when the call is over."""
        reservation = Reservation(self)
        # The types of gRPC declare this without an argument.
        call_when_done: Callable[[Callable[[_Context], None]], None] = cast(
            "Any", context
        ).add_done_callback
        call_when_done(reservation.end)
        return reservation


class Reservation:
    """The bytes that one call has reserved."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._bytes = 0
        self._over = False

    def reserve(self, size: int) -> None:
        """Reserve this many bytes. Raises ResourceExhausted, and then reserves nothing."""
        if size <= SMALL_BYTES_MAX or self._over:
            return
        if size > self._budget.free:
            raise ResourceExhausted(
                f"the memory budget for large payloads has {self._budget.free:,} bytes left,"
                f" and {size:,} are needed; try again in a moment"
            )
        self._budget.free -= size
        self._bytes += size

    @property
    def size(self) -> int:
        """Return how many bytes are reserved or held."""
        return self._bytes

    def hold(self, size: int) -> None:
        """Hold this many bytes more (or fewer, if negative), whether the budget has them or not."""
        if not self._over:
            self._budget.free -= size
            self._bytes += size

    def end(self, _call: _Context) -> None:
        """Release everything when the call is over."""
        self.release()

    def release(self) -> None:
        """Release everything; later calls of `reserve` do nothing, for no response will leave."""
        self._over = True
        self._budget.free += self._bytes
        self._bytes = 0
