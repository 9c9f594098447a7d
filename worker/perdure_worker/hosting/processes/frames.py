"""Frames between a worker and the process of a handler, over a socket pair.

A frame is its length (4 bytes, big-endian) and one message in MessagePack. Both ends are of one
release: the worker starts its processes itself.
"""

import struct
from typing import Final

import msgspec

# Lambda's largest synchronous payload (6 MiB) twice, and what surrounds it. A sender keeps to this,
# a reader checks it.
FRAME_BYTES_MAX: Final = 16 * 1_024 * 1_024
HEADER: Final = struct.Struct(">I")


class Invoke(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To the process: call the handler with this event, which is JSON."""

    request_id: str
    function_arn: str
    event: str
    # By the monotonic clock of the machine, which both processes read.
    deadline_ms: int
    tenant_id: str | None = None
    trace_header: str | None = None
    client_context: str | None = None


class HandlerError(msgspec.Struct, frozen=True):
    """Error of a handler, as Lambda's runtime reports it."""

    message: str
    type: str
    stack_trace: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From the process: the handler is imported."""


class InitFailed(msgspec.Struct, frozen=True, tag=True):
    """From the process: the handler cannot be imported; the process ends."""

    error: HandlerError


class Started(msgspec.Struct, frozen=True, tag=True):
    """From the process: an event has arrived, and the handler may have been called."""


class Returned(msgspec.Struct, frozen=True, tag=True):
    """From the process: the handler has returned; `result` is JSON."""

    result: str


class Raised(msgspec.Struct, frozen=True, tag=True):
    """From the process: the handler raised, or its result cannot be written as JSON."""

    error: HandlerError


class Line(msgspec.Struct, frozen=True, tag=True):
    """From the process: a line for the log, already as it is to be written."""

    text: str


class Printed(msgspec.Struct, frozen=True, tag=True):
    """From the process: what was written to Python's standard output or error."""

    data: bytes


FromProcess = Ready | InitFailed | Started | Returned | Raised | Line | Printed

_encoder: Final = msgspec.msgpack.Encoder()
_from_process: Final[msgspec.msgpack.Decoder[FromProcess]] = msgspec.msgpack.Decoder(FromProcess)
_to_process: Final = msgspec.msgpack.Decoder(Invoke)


class BrokenFrame(Exception):
    """The other end broke the protocol."""


def frame(message: Invoke | FromProcess) -> bytes:
    """Return the message as it goes over the socket."""
    body = _encoder.encode(message)
    assert len(body) <= FRAME_BYTES_MAX
    return HEADER.pack(len(body)) + body


def length(header: bytes) -> int:
    """Return how many bytes follow. Raises BrokenFrame."""
    (size,) = HEADER.unpack(header)
    if size > FRAME_BYTES_MAX:
        raise BrokenFrame(f"a frame of {size:,} bytes; at most {FRAME_BYTES_MAX:,} are allowed")
    return int(size)


def from_process(body: bytes) -> FromProcess:
    """Read what a process says. Raises BrokenFrame."""
    try:
        return _from_process.decode(body)
    except msgspec.MsgspecError as error:
        raise BrokenFrame(str(error)) from None


def to_process(body: bytes) -> Invoke:
    """Read what the worker says. Raises BrokenFrame."""
    try:
        return _to_process.decode(body)
    except msgspec.MsgspecError as error:
        raise BrokenFrame(str(error)) from None
