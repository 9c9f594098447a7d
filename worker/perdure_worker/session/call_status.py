"""The status that the server ended a stream with, whatever was being written meanwhile.

A write that meets the end of its call fails, and grpcio then puts INTERNAL in place of the status
that the server has sent (its issue 36066). Both orders happen: the status is replaced after it has
come, or it comes after the replacement. A refused token would look like a server with a fault, and
be tried again.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

# How long the status may come after a write has failed for it.
STATUS_S_MAX: Final = 1.0
_POLL_S: Final = 0.005
# What grpcio says of a write that failed.
_WRITE_FAILED: Final = "Internal error from Core"

Status: TypeAlias = tuple[grpc.StatusCode, str]
_T = TypeVar("_T")


class CallStatus:
    """The status of one call."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[Any, Any]") -> None:
        self._call = call
        self._first: Status | None = None
        call.add_done_callback(self._keep_first)

    async def received(self) -> Status:
        """Return code and details, once the call has ended; UNAVAILABLE where none came."""
        status = self._first or (await self._call.code(), await self._call.details() or "")
        try:
            async with asyncio.timeout(STATUS_S_MAX):
                # Nothing tells when the server's status takes its place back.
                while _is_failed_write(status):
                    await asyncio.sleep(_POLL_S)
                    status = await self._call.code(), await self._call.details() or ""
        except TimeoutError:
            return grpc.StatusCode.UNAVAILABLE, "the stream broke while a message was written"
        return status

    def _keep_first(self, call: "grpc.aio.StreamStreamCall[Any, Any]") -> None:
        self._first = _result_of(call.code()), _result_of(call.details()) or ""


def _is_failed_write(status: Status) -> bool:
    code, details = status
    return code is grpc.StatusCode.INTERNAL and details.startswith(_WRITE_FAILED)


def _result_of(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("_T", end.value)
    coroutine.close()
    raise RuntimeError("the call has not ended")
