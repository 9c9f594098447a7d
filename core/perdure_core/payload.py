"""Recorded payloads: the text itself, or a reference to a large text outside the record.

A large text is stored once, beside the history, under the hash of its content, so that a folded
state stays small whatever its steps returned. Text and reference differ by type, in memory and in
the encoding, so no text that a user writes can pass for a reference.
"""

from hashlib import blake2b
from typing import TypeAlias

import msgspec

DIGEST_BYTES = 32


class StoredPayload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Reference to a text outside the record: its hash, and its size in bytes of UTF-8.

    It belongs to one execution; in another one the same digest refers to that one's own copy.
    """

    digest: bytes
    size: int


Payload: TypeAlias = str | StoredPayload


class NotLoaded(LookupError):
    """The text of a payload outside the record was needed but not loaded: a bug in Perdure."""


def text_of(payload: Payload | None) -> str | None:
    """Return the text of a payload, which must not be a reference. Raises NotLoaded."""
    if isinstance(payload, StoredPayload):
        raise NotLoaded(f"a payload of {payload.size:,} bytes is stored outside the record")
    return payload


def bytes_of(payload: Payload | None) -> int:
    """Return the size in bytes of UTF-8; an ASCII text is not encoded for it."""
    if payload is None:
        return 0
    if isinstance(payload, StoredPayload):
        return payload.size
    return len(payload) if payload.isascii() else len(payload.encode())


def stored(body: bytes) -> StoredPayload:
    """Return the reference to a text with this UTF-8."""
    return StoredPayload(blake2b(body, digest_size=DIGEST_BYTES).digest(), len(body))
