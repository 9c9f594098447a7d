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


class Body:
    """The body of one request."""

    def __init__(self, request: Request, budget: BodyBudget) -> None:
        self._request = request
        self._budget = budget
        self._reserved = 0
        self._buffered: bytes | None = None

    async def buffer(self, bytes_max: int) -> bytes:
        """Read the whole body and keep it, so that it can be read again. Raises LambdaError."""
        self._buffered = await self.read(bytes_max)
        return self._buffered

    async def read(self, bytes_max: int) -> bytes:
        """Return the whole body. Raises LambdaError when it is too large or too slow."""
        if self._buffered is not None:
            check_body_size(len(self._buffered), bytes_max)
            return self._buffered
        check_body_size(int(self._request.headers.get("content-length", "0")), bytes_max)
        received = bytearray()
        try:
            async with asyncio.timeout(BODY_S_MAX):
                async for chunk in self._request.stream():
                    check_body_size(len(received) + len(chunk), bytes_max)
                    self._budget.reserve(len(chunk))
                    self._reserved += len(chunk)
                    received += chunk
        except TimeoutError:
            raise LambdaError(
                Code.CONTENT_INVALID, f"the body must arrive within {BODY_S_MAX:.0f} s"
            ) from None
        return bytes(received)

    def release(self) -> None:
        """Release the memory of the body."""
        self._buffered = None
        self._budget.release(self._reserved)
        self._reserved = 0
