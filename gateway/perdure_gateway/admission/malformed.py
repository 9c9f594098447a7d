"""Bytes that are no message: a value instead of an exception, which gRPC would log and hide.

gRPC calls a deserializer outside every interceptor, and answers what it raises with UNKNOWN and a
traceback in the log.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError

from perdure_host.codec import MalformedMessage


class _Malformed:
    """The type of `MALFORMED`, which no message has."""


MALFORMED: Final = _Malformed()


def lenient(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return the deserializer, but with `MALFORMED` for what is no message."""

    def deserialize(content: bytes) -> Any:
        try:
            return deserializer(content)
        except (DecodeError, ValueError):
            return MALFORMED

    return deserialize


def check_well_formed(message: object) -> None:
    """Raise MalformedMessage for bytes that are no message."""
    if message is MALFORMED:
        raise MalformedMessage("the request is no message of the type that this method takes")
