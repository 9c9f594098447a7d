"""Checkpoint tokens, callback ids and page markers, which callers hold and send back.

A token contains its fields and a keyed MAC over them, so that a node which never saw it can verify
it. Tokens are signed, not encrypted: their holder may read them.

Must stay true: equal fields have exactly one token (signing is deterministic, and another spelling
of the same bytes is refused), one kind is never accepted as another (each has its own MAC), and a
message about a bad token never shows a MAC, nor which byte of it was wrong.

Binary layout, big-endian, with sizes in bytes:

    checkpoint  version 1, bucket 2, execution 16, invocation 16, number 4, seen 4,
                started_ms 8, MAC
    callback    version 1, bucket 2, execution 16, operation id 1 to 64, MAC

The text of a checkpoint token is its base64. That of a callback id is its base32 without padding,
so that it can stand in a URL as it is, and still is of the form that AWS gives. Its version is 2;
earlier releases wrote version 1, in base64, which remains readable. All versions begin with other
letters in any encoding, since a bucket has twelve bits.
"""

import binascii
import struct
from base64 import b32decode, b32encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, NamedTuple, TypeVar

import msgspec

from perdure_core.commands import CheckpointToken
from perdure_core.limits import (
    BUCKETS,
    CALLBACK_ID_CHARS_MAX,
    CHECKPOINT_TOKEN_CHARS_MAX,
    OPERATION_ID_CHARS_MAX,
)
from perdure_core.refusals import Invalid
from perdure_host.ports import ExecutionKey

VERSION: Final = 1
CALLBACK_VERSION: Final = 2
SECRET_BYTES: Final = 32
# 120 bits; with it a checkpoint token is a whole number of base64 quadruples: no padding.
MAC_BYTES: Final = 15
MARKER_CHARS_MAX: Final = 1_024

_TURN: Final = struct.Struct(">BH16s16sIIQ")
_CALLBACK: Final = struct.Struct(">BH16s")

_Shape = TypeVar("_Shape")


class Signer:
    """Signs and reads tokens under the cluster's secret."""

    __slots__ = ("_callback_mac", "_token_mac")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret must have {SECRET_BYTES} bytes, not {len(secret)}")
        # Copying a keyed hash is cheaper than keying one for each token.
        self._token_mac = blake2b(key=secret, digest_size=MAC_BYTES, person=b"perdure-turn")
        self._callback_mac = blake2b(key=secret, digest_size=MAC_BYTES, person=b"perdure-callback")

    def sign_token(self, key: ExecutionKey, token: CheckpointToken) -> str:
        """Return the signed text of a checkpoint token."""
        content = _TURN.pack(
            VERSION,
            key.bucket,
            bytes.fromhex(key.execution_id),
            bytes.fromhex(token.invocation_id),
            token.number,
            token.seen,
            token.started_ms,
        )
        return _to_text(content + _mac(self._token_mac, content))

    def read_token(self, text: str) -> tuple[ExecutionKey, CheckpointToken]:
        """Return what `sign_token` wrote. Raises Invalid for anything else."""
        what = "checkpoint token"
        content = _checked(self._token_mac, text, what, CHECKPOINT_TOKEN_CHARS_MAX, _BASE64)
        if len(content) != _TURN.size:
            raise _invalid(what, "its length is wrong")
        _, bucket, execution, invocation, number, seen, started_ms = _TURN.unpack(content)
        token = CheckpointToken(
            invocation_id=invocation.hex(), number=number, seen=seen, started_ms=started_ms
        )
        return _key(bucket, execution, what), token

    def sign_callback(self, key: ExecutionKey, operation_id: str) -> str:
        """Return the callback id of a CALLBACK operation."""
        head = _CALLBACK.pack(CALLBACK_VERSION, key.bucket, bytes.fromhex(key.execution_id))
        content = head + operation_id.encode("ascii")
        return _to_url_text(content + _mac(self._callback_mac, content))

    def read_callback(self, callback_id: str) -> tuple[ExecutionKey, str]:
        """Return what `sign_callback` wrote. Raises Invalid for anything else."""
        what = "callback id"
        spelling = _BASE32 if callback_id.startswith(_BASE32_BEGIN) else _BASE64
        content = _checked(self._callback_mac, callback_id, what, CALLBACK_ID_CHARS_MAX, spelling)
        operation_id = content[_CALLBACK.size :]
        if not 1 <= len(operation_id) <= OPERATION_ID_CHARS_MAX or not operation_id.isascii():
            raise _invalid(what, "its length is wrong")
        _, bucket, execution = _CALLBACK.unpack_from(content)
        return _key(bucket, execution, what), operation_id.decode("ascii")


def pack_marker(kind: str, values: Sequence[int | str]) -> str:
    """Return an opaque page marker which holds `values`; each listing has a `kind` of its own."""
    return urlsafe_b64encode(msgspec.msgpack.encode((kind, tuple(values)))).decode("ascii")


def unpack_marker(kind: str, marker: str, shape: type[_Shape]) -> _Shape:
    """Return the values of a marker, as the tuple type `shape`. Raises Invalid for anything else.

    Markers are not signed: the caller must check the values like those of any request.
    """
    if len(marker) > MARKER_CHARS_MAX:
        raise Invalid(f"malformed page marker: {len(marker)} characters, limit {MARKER_CHARS_MAX}")
    try:
        content = urlsafe_b64decode(marker.encode("ascii"))
        found, values = msgspec.msgpack.decode(content, type=tuple[str, msgspec.Raw])
        unpacked = msgspec.msgpack.decode(values, type=shape)
    except (ValueError, msgspec.MsgspecError):
        raise Invalid("malformed page marker: take it unchanged from next_marker") from None
    if found != kind:
        raise Invalid(f"malformed page marker: it belongs to {found!r:.40}, not to {kind!r}")
    return unpacked


def _mac(keyed: blake2b, content: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(content)
    return mac.digest()


def _to_text(signed: bytes) -> str:
    return binascii.b2a_base64(signed, newline=False).decode("ascii")


def _to_url_text(signed: bytes) -> str:
    return b32encode(signed).decode("ascii").rstrip("=")


def _from_text(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _from_url_text(text: str) -> bytes:
    return b32decode(text + "=" * (-len(text) % 8))


class _Spelling(NamedTuple):
    name: str
    version: int
    write: Callable[[bytes], str]
    read: Callable[[str], bytes]


_BASE64: Final = _Spelling("base64", VERSION, _to_text, _from_text)
_BASE32: Final = _Spelling("base32", CALLBACK_VERSION, _to_url_text, _from_url_text)
# Version 2, and four bits of a bucket that are zero. Base64 of version 1 begins with "AQ".
_BASE32_BEGIN: Final = "AI"


def _checked(keyed: blake2b, text: str, what: str, chars_max: int, spelling: _Spelling) -> bytes:
    """Return the content of a token after checking its form, version and MAC."""
    if not 1 <= len(text) <= chars_max:
        raise _invalid(what, f"{len(text)} characters, expected 1 to {chars_max}")
    try:
        signed = spelling.read(text)
    except ValueError:
        raise _invalid(what, f"it is not {spelling.name}") from None
    if len(signed) <= MAC_BYTES:
        raise _invalid(what, "its length is wrong")
    if signed[0] != spelling.version:
        raise _invalid(what, f"unknown version {signed[0]}")
    content = signed[:-MAC_BYTES]
    mac = signed[-MAC_BYTES:]
    if not compare_digest(_mac(keyed, content), mac) or spelling.write(signed) != text:
        raise _invalid(what, "its signature does not match")
    return content


def _key(bucket: int, execution: bytes, what: str) -> ExecutionKey:
    if bucket >= BUCKETS:
        raise _invalid(what, f"bucket {bucket}, limit {BUCKETS}")
    return ExecutionKey(bucket, execution.hex())


def _invalid(what: str, reason: str) -> Invalid:
    return Invalid(f"Invalid {what}: {reason}")
