"""The relay: a process that makes the calls of a forked one.

Its standard input is a socket. The first frame there says where to connect to; then each byte
brings one end of a socket of its own for one call. The end of the input is the end of the relay,
whatever is under way: no process is left that it could answer.
"""

import contextlib
import os
import socket
import sys
import threading
from typing import Any, Final

import grpc

from perdure_host.channel import open_channel, text_trailers
from perdure_host.errors import SettingsError
from perdure_host.forks.frames import (
    Ended,
    Failed,
    Frame,
    Hello,
    Message,
    Request,
    read_frame,
    send_frame,
)

_SOCKETS_AT_ONCE: Final = 1


def main() -> None:
    """Serve the process at the other end of the standard input until it has closed it."""
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as control:
        hello = read_frame(control)
        if not isinstance(hello, Hello):
            return
        try:
            channel = open_channel(hello.connection)
        except SettingsError as error:
            send_frame(control, Failed(grpc.StatusCode.INVALID_ARGUMENT.name, str(error)))
            return
        send_frame(control, Ended())
        while True:  # ends with the input
            data, sockets, _, _ = socket.recv_fds(control, 1, _SOCKETS_AT_ONCE)
            for each in sockets:
                threading.Thread(target=_serve, args=(channel, each), daemon=True).start()
            if not data:
                os._exit(0)


def _serve(channel: grpc.Channel, number: int) -> None:
    """Make one call, and answer it."""
    with socket.socket(fileno=number) as caller:
        try:
            request = read_frame(caller)
            if isinstance(request, Request):
                _call(channel, caller, request)
        except OSError:
            return  # the caller has gone


def _call(channel: Any, caller: socket.socket, request: Request) -> None:
    """Make a call without serializers, which the types of gRPC do not describe."""
    try:
        if request.stream:
            stream = channel.unary_stream(request.path)(request.data, timeout=request.timeout_s)
            threading.Thread(target=_cancel_at_end, args=(caller, stream), daemon=True).start()
            for data in stream:
                send_frame(caller, Message(data))
            answer: Frame = Ended()
        else:
            data = channel.unary_unary(request.path)(request.data, timeout=request.timeout_s)
            answer = Message(data)
    except grpc.RpcError as error:
        known: Any = error
        answer = Failed(known.code().name, known.details() or "", text_trailers(known))
    send_frame(caller, answer)


def _cancel_at_end(caller: socket.socket, stream: Any) -> None:
    """Cancel a stream when its caller has closed its end: the next message may be a year away."""
    with contextlib.suppress(OSError):
        caller.recv(1)
    stream.cancel()


if __name__ == "__main__":
    main()
