"""Request bodies, bounded while they stream in: each of them, and all of them together.

Must stay true: no more is held than is reserved; a request releases its reservation when it ends,
or earlier, once history holds the body.
"""

import asyncio
from typing import Final

from starlette.requests import Request

from perdure_host.lambda_json.body_budget import BodyBudget, check_body_size
from perdure_host.lambda_json.failures import Code, LambdaError

# A slower client would hold memory that others could use.
BODY_S_MAX: Final = 60.0
# After a moment, a body must come at this rate at least, on average.
GRACE_S: Final = 10.0
BYTES_PER_S_MIN: Final = 16 * 1_024


class Body:
    """The body of one request."""

    def __init__(
        self, request: Request, budget: BodyBudget, unproven: BodyBudget | None = None
    ) -> None:
        """`unproven` bounds, besides, what has come of bodies of unknown senders."""
        self._request = request
        self._budget = budget
        self._unproven = unproven
        self._reserved = 0
        self._reserved_unproven = 0
        self._buffered: bytes | None = None

    async def buffer(self, bytes_max: int, *, proven: bool) -> bytes:
        """Read the whole body and keep it, so that it can be read again. Raises LambdaError."""
        self._buffered = await self._receive(bytes_max, proven=proven)
        return self._buffered

    async def read(self, bytes_max: int) -> bytes:
        """Return the whole body. Raises LambdaError when it is too large or too slow."""
        if self._buffered is None:
            return await self._receive(bytes_max, proven=True)
        check_body_size(len(self._buffered), bytes_max)
        return self._buffered

    def prove(self) -> None:
        """Note that the sender of the body is known now."""
        if self._unproven is not None:
            self._unproven.release(self._reserved_unproven)
        self._reserved_unproven = 0

    def release(self) -> None:
        """Release the memory of the body."""
        self._buffered = None
        self.prove()
        self._budget.release(self._reserved)
        self._reserved = 0

    async def _receive(self, bytes_max: int, *, proven: bool) -> bytes:
        check_body_size(int(self._request.headers.get("content-length", "0")), bytes_max)
        received = bytearray()
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began_s + _seconds_for(0)) as deadline:
                async for chunk in self._request.stream():
                    check_body_size(len(received) + len(chunk), bytes_max)
                    self._reserve(len(chunk), proven=proven)
                    received += chunk
                    deadline.reschedule(began_s + _seconds_for(len(received)))
        except TimeoutError:
            raise LambdaError(
                Code.CONTENT_INVALID,
                f"the body must arrive within {BODY_S_MAX:.0f} s, and at {BYTES_PER_S_MIN:,} bytes"
                f" a second from the {GRACE_S:.0f}th second on",
            ) from None
        return bytes(received)

    def _reserve(self, size: int, *, proven: bool) -> None:
        if not proven and self._unproven is not None:
            self._unproven.reserve(size)
            self._reserved_unproven += size
        self._budget.reserve(size)
        self._reserved += size


def _seconds_for(received: int) -> float:
    """Return how long a body may have taken when so much of it has come."""
    return min(BODY_S_MAX, GRACE_S + received / BYTES_PER_S_MIN)
