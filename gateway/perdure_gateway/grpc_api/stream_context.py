"""The context of a stream, which ends only after the message that is being written.

gRPC can send a status only when no message is on its way. If it must end a call whose task was
cancelled in the middle of a write, it loses the status, answers INTERNAL and logs a traceback.

Must stay true: a status never meets a message, and a peer that reads nothing keeps no call open.
"""

import asyncio
from typing import Any, Final, TypeAlias

import grpc.aio

# How long the last message may take to leave before the call ends without a status.
LAST_WRITE_S_MAX: Final = 1.0

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class StreamContext:
    """gRPC's context of one call, but for its writes."""

    def __init__(self, context: _Context) -> None:
        self._context = context
        self._writing: asyncio.Task[None] | None = None
        self._problem: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what gRPC's own context has under this name."""
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Write a message; one that has begun goes on when the task is cancelled."""
        self._writing = asyncio.get_running_loop().create_task(self._write(message))
        await asyncio.shield(self._writing)
        if self._problem is not None:
            raise self._problem

    async def settle(self) -> None:
        """Return once no message is being written.

        Raises CancelledError, by which the call ends without a status, if that takes too long.
        """
        if self._writing is None or self._writing.done():
            return
        await asyncio.wait((self._writing,), timeout=LAST_WRITE_S_MAX)
        if not self._writing.done():
            self._writing.cancel()
            raise asyncio.CancelledError

    async def _write(self, message: Any) -> None:
        try:
            await self._context.write(message)
        except Exception as error:  # noqa: BLE001 - for who waits, if anybody still does
            self._problem = error
