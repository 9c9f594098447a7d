"""A payload as it is recorded: the text itself, or where a large one is kept.

Large texts stand once, beside the history that names them by their content, so that a folded state
stays small whatever its steps returned. The two are told apart by their types, in memory and in the
encoding, so no text that a user writes can pass for a reference.
"""

from hashlib import blake2b
from typing import TypeAlias

import msgspec

DIGEST_BYTES = 32


class StoredPayload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A text that is kept outside: what it hashes to, and its size in bytes of UTF-8.

    It belongs to one execution; the same digest in another one is another text's.
    """

    digest: bytes
    size: int


Payload: TypeAlias = str | StoredPayload


class NotLoaded(LookupError):
    """A payload that is kept outside was asked for its text; this is an error of ours."""


def text_of(payload: Payload | None) -> str | None:
    """Return the text of a payload that is at hand. Raises NotLoaded."""
    if isinstance(payload, StoredPayload):
        raise NotLoaded(f"a payload of {payload.size:,} bytes is kept outside")
    return payload


def bytes_of(payload: Payload | None) -> int:
    """Return the size in bytes of UTF-8, without encoding what is ASCII."""
    if payload is None:
        return 0
    if isinstance(payload, StoredPayload):
        return payload.size
    return len(payload) if payload.isascii() else len(payload.encode())


def stored(body: bytes) -> StoredPayload:
    """Return the reference to a text by its UTF-8."""
    return StoredPayload(blake2b(body, digest_size=DIGEST_BYTES).digest(), len(body))
