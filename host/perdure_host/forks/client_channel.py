"""The channels of clients: each process that uses one has a connection of its own.

A client may come over a fork. In the child it opens another channel: one of gRPC if its parent had
not used gRPC yet, and otherwise a relay. What it inherited is never touched again, since the locks
inside may be held by threads that the child does not have.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message

from perdure_host.channel import (
    FORKED,
    REASON_KEY,
    ConnectionSettings,
    check_connection,
    open_aio_channel,
    open_channel,
    problem_of_port,
)
from perdure_host.errors import SettingsError
from perdure_host.forks.grpc_use import used_before_fork
from perdure_host.forks.relay import Deserialize, RelayChannel, RelayedError, Serialize
from perdure_host.server_address import NO_CONNECTION

# Never released: closing a channel of the parent may wait for its locks.
_inherited: Final[list[object]] = []


class _Opening:
    """The lock of this process: one that is held while another thread forks stays held there."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.Lock()


_opening: Final = _Opening()


class ClientChannel:
    """Makes blocking calls. Threads share it, and so may a process and those that it forks."""

    def __init__(self, settings: ConnectionSettings) -> None:
        """Check the settings; connect with the first call. Raises SettingsError."""
        check_connection(settings)
        self._settings = settings
        self._opened: tuple[int, Any] | None = None

    def unary_unary(
        self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., Any]:
        """Return a function that makes a call, and returns its answer."""
        send = self._channel().unary_unary(
            path,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
        )

        def explained(request: Message, timeout: float | None = None) -> Any:
            try:
                return send(request, timeout=timeout)
            except grpc.RpcError as error:
                _explain(error, self._settings)
                raise

        return explained

    def unary_stream(
        self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., Any]:
        """Return a function that opens a stream of messages."""
        return self._channel().unary_stream(  # type: ignore[no-any-return]
            path,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
        )

    def close(self) -> None:
        """Close the connection of this process."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()

    def _channel(self) -> Any:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with _opening.lock:
                opened = self._open()
        return opened[1]

    def _open(self) -> tuple[int, Any]:
        pid = os.getpid()
        if self._opened is not None:
            if self._opened[0] == pid:
                return self._opened  # another thread was faster
            _inherited.append(self._opened)
        forked = used_before_fork()
        try:
            channel = RelayChannel(self._settings) if forked else open_channel(self._settings)
        except SettingsError as error:  # a file that was there when they were checked
            raise RelayedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        self._opened = (pid, channel)
        return self._opened


class AioClientChannel:
    """Makes calls on one event loop, in the process that opened it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        """Open the channel on the running loop. Raises SettingsError."""
        self._pid = os.getpid()
        self._settings = settings
        self._channel: grpc.aio.Channel = open_aio_channel(settings)

    def unary_unary(
        self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., Any]:
        """Return a function that makes a call, to be awaited. Raises RelayedError after a fork."""
        self._check()
        send = self._channel.unary_unary(
            path,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
        )

        async def explained(request: Message, timeout: float | None = None) -> Any:
            try:
                return await send(request, timeout=timeout)
            except grpc.RpcError as error:
                await asyncio.to_thread(_explain, error, self._settings)
                raise

        return explained

    def unary_stream(
        self, path: str, *, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., Any]:
        """Return a function that opens a stream. Raises RelayedError after a fork."""
        self._check()
        return self._channel.unary_stream(
            path,
            request_serializer=request_serializer,
            response_deserializer=response_deserializer,
        )

    async def close(self) -> None:
        """Close the connection; after a fork, do nothing."""
        if self._pid == os.getpid():
            await self._channel.close()

    def _check(self) -> None:
        if self._pid != os.getpid():
            raise RelayedError(grpc.StatusCode.FAILED_PRECONDITION, FORKED)


def _explain(error: Any, settings: ConnectionSettings) -> None:
    """Raise RelayedError if a call can never reach this port; it is asked, for up to 4 s."""
    problem = problem_of_port(settings, error.details() or "")
    if problem is not None:
        message = f"no connection to the server: {problem.description}"
        raise RelayedError(
            grpc.StatusCode.INVALID_ARGUMENT, message, {REASON_KEY: NO_CONNECTION}
        ) from error
