"""What passes between a forked process and its relay: structs, each after its length.

Both ends are processes of one user on one machine, with the same release.
"""

import socket
import struct
from typing import Final

import msgspec

from perdure_host.channel import ConnectionSettings

_LENGTH: Final = struct.Struct(">Q")
_CHUNK_BYTES_MAX: Final = 1_048_576


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first frame: where to connect to."""

    connection: ConnectionSettings


class Request(msgspec.Struct, frozen=True, tag=True):
    """One call. `stream`: it is answered by any number of messages, and an end."""

    path: str
    data: bytes
    # Seconds; None for no limit.
    timeout_s: float | None
    stream: bool


class Message(msgspec.Struct, frozen=True, tag=True):
    """One answer."""

    data: bytes


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The call failed. `code` is the name of a status of gRPC."""

    code: str
    details: str
    trailers: dict[str, str] = {}


class Ended(msgspec.Struct, frozen=True, tag=True):
    """All is well: the relay is ready, or the stream has ended."""


Frame = Hello | Request | Message | Failed | Ended

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Frame)


def send_frame(to: socket.socket, frame: Frame) -> None:
    """Send one frame. Raises OSError."""
    data = _encoder.encode(frame)
    to.sendall(_LENGTH.pack(len(data)))
    to.sendall(data)


def read_frame(source: socket.socket) -> Frame | None:
    """Return the next frame; None at the end. Raises OSError."""
    header = _read(source, _LENGTH.size)
    if header is None:
        return None
    data = _read(source, _LENGTH.unpack(header)[0])
    return None if data is None else _decoder.decode(data)


def _read(source: socket.socket, count: int) -> bytearray | None:
    """Return so many bytes; None if the other end closed before."""
    data = bytearray()
    while len(data) < count:
        part = source.recv(min(count - len(data), _CHUNK_BYTES_MAX))
        if not part:
            return None
        data += part
    return data
