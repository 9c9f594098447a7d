"""A channel of a forked process, whose calls are made by a process that was started afresh.

The relay's standard input is one end of a socket, and ends with this process or with `close`.
Threads share it: each call has a socket of its own, whose other end is sent over.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import Message as ProtobufMessage

from perdure_host.channel import ConnectionSettings
from perdure_host.forks.frames import Ended, Failed, Hello, Message, Request, read_frame, send_frame

_MODULE: Final = "perdure_host.forks.relay_process"
_START_S_MAX: Final = 30.0
_STOP_S_MAX: Final = 5.0

Serialize = Callable[[ProtobufMessage], bytes]
Deserialize = Callable[[bytes], Any]


class RelayedError(grpc.RpcError):
    """A call failed: at the server, or because the relay did not work."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._trailers = trailers or {}

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._code

    def details(self) -> str:
        """Return the message."""
        return self._details

    def trailing_metadata(self) -> Any:
        """Return what else the server said."""
        return tuple(self._trailers.items())


class RelayChannel:
    """Makes calls through a relay. Raises RelayedError where `grpc.Channel` raises RpcError."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = _start_process(theirs)
        try:
            self._control.settimeout(_START_S_MAX)
            send_frame(self._control, Hello(settings))
            answer = read_frame(self._control)
        except OSError:
            answer = None
        self._control.settimeout(None)
        if not isinstance(answer, Ended):
            self.close()
            raise _failure(answer)

    def close(self) -> None:
        """End the relay, and the calls that it still makes."""
        self._control.close()
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def unary_unary(
        self, path: str, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., Any]:
        """Return a function that makes a call, and returns its answer."""

        def send(request: ProtobufMessage, timeout: float | None = None) -> Any:
            frame = Request(path, request_serializer(request), timeout, stream=False)
            with self._open(frame) as call:
                answer = _read(call)
            if isinstance(answer, Message):
                return response_deserializer(answer.data)
            raise _failure(answer)

        return send

    def unary_stream(
        self, path: str, request_serializer: Serialize, response_deserializer: Deserialize
    ) -> Callable[..., "RelayedStream"]:
        """Return a function that opens a stream of messages."""

        def send(request: ProtobufMessage, timeout: float | None = None) -> RelayedStream:
            frame = Request(path, request_serializer(request), timeout, stream=True)
            return RelayedStream(self._open(frame), response_deserializer)

        return send

    def _open(self, request: Request) -> socket.socket:
        """Send a request over a socket of its own, and return that."""
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"c"], [theirs.fileno()])
            send_frame(mine, request)
        except OSError as error:
            mine.close()
            raise _failure(None) from error
        return mine


class RelayedStream:
    """The messages of one stream."""

    def __init__(self, call: socket.socket, deserialize: Deserialize) -> None:
        self._call = call
        self._deserialize = deserialize

    def __iter__(self) -> Iterator[Any]:
        """Return the messages as they come. Raises RelayedError when the stream breaks."""
        while isinstance(frame := _read(self._call), Message):
            yield self._deserialize(frame.data)
        if not isinstance(frame, Ended):
            raise _failure(frame)

    def cancel(self) -> None:
        """End the stream."""
        self._call.close()


def _start_process(standard_input: socket.socket) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        # It imports what this process imports, and is silent: failures come back as frames.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GRPC_VERBOSITY": "NONE",
    }
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter, with a module of ours
            [sys.executable, "-P", "-m", _MODULE],
            stdin=standard_input.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            # Ctrl+C reaches this process, which decides what becomes of its calls.
            start_new_session=True,
        )
    except OSError as error:
        raise RelayedError(
            grpc.StatusCode.INTERNAL,
            "this process was forked from one that uses gRPC, and the process that would make its"
            f" calls, {sys.executable!r}, cannot be started: {error.strerror}. Start this one with"
            " the method 'spawn' of multiprocessing.",
        ) from error


def _read(call: socket.socket) -> object:
    try:
        return read_frame(call)
    except OSError:
        return None


def _failure(answer: object) -> RelayedError:
    if isinstance(answer, Failed):
        return RelayedError(grpc.StatusCode[answer.code], answer.details, answer.trailers)
    return RelayedError(
        grpc.StatusCode.INTERNAL,
        "this process was forked from one that uses gRPC, and the process that makes its calls has"
        " ended. Start this one with the method 'spawn' of multiprocessing.",
    )
