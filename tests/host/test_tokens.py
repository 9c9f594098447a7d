"""Signed tokens: those that we signed verify, and nothing else does."""

import re
from base64 import b32decode, b64decode, b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_core.commands import CheckpointToken
from perdure_core.limits import BUCKETS, CALLBACK_ID_CHARS_MAX, CHECKPOINT_TOKEN_CHARS_MAX
from perdure_core.refusals import Invalid
from perdure_host.ports import ExecutionKey
from perdure_host.tokens import MARKER_CHARS_MAX, Signer, pack_marker, unpack_marker

SIGNER = Signer(b"s" * 32)
KEY = ExecutionKey(17, "ab" * 16)
TURN = CheckpointToken("cd" * 16, 3, 7, 1_700_000_000_000)
FORM = re.compile(r"[A-Za-z0-9+/]+={0,2}")

hex_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
keys = st.builds(ExecutionKey, st.integers(0, BUCKETS - 1), hex_ids)
turns = st.builds(
    CheckpointToken,
    hex_ids,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**63),
)
operation_ids = st.text("abcXYZ019-_", min_size=1, max_size=64)


@given(keys, turns)
def test_a_checkpoint_token_reads_as_it_was_signed(
    key: ExecutionKey, decoded: CheckpointToken
) -> None:
    token = SIGNER.sign_token(key, decoded)
    assert SIGNER.read_token(token) == (key, decoded)
    assert FORM.fullmatch(token)
    assert len(token) <= CHECKPOINT_TOKEN_CHARS_MAX


@given(keys, operation_ids)
def test_a_callback_id_reads_as_it_was_signed(key: ExecutionKey, operation_id: str) -> None:
    callback_id = SIGNER.sign_callback(key, operation_id)
    assert SIGNER.read_callback(callback_id) == (key, operation_id)
    assert FORM.fullmatch(callback_id)
    assert quote(callback_id, safe="") == callback_id
    assert len(callback_id) <= CALLBACK_ID_CHARS_MAX


def test_signing_twice_gives_the_same_token() -> None:
    assert SIGNER.sign_token(KEY, TURN) == Signer(b"s" * 32).sign_token(KEY, TURN)


@given(st.integers(0, 65), st.integers(1, 255))
def test_no_byte_of_a_token_can_be_changed(position: int, difference: int) -> None:
    signed = bytearray(b64decode(SIGNER.sign_token(KEY, TURN)))
    signed[position] ^= difference
    with pytest.raises(Invalid, match=r"^Invalid checkpoint token: "):
        SIGNER.read_token(b64encode(signed).decode())


def test_another_secret_reads_nothing() -> None:
    with pytest.raises(Invalid, match="signature does not match"):
        Signer(b"t" * 32).read_token(SIGNER.sign_token(KEY, TURN))


def test_a_callback_id_is_not_a_checkpoint_token_and_vice_versa() -> None:
    with pytest.raises(Invalid):
        SIGNER.read_token(SIGNER.sign_callback(KEY, "o" * 32))
    with pytest.raises(Invalid):
        SIGNER.read_callback(SIGNER.sign_token(KEY, TURN))


# As releases before 0.2 wrote them, with this secret and key.
EARLIER = {
    "abcd": "AQARq6urq6urq6urq6urq6urq2FiY2Qd5nTGvHECz2dxep3eJYg=",
    "approve-1": "AQARq6urq6urq6urq6urq6urq2FwcHJvdmUtMQaqIVKJAw+Nq4Fq6vwgjQ==",
    "Zz": "AQARq6urq6urq6urq6urq6urq1p67s5pMOc0fM8vRMnOcuIw",
}


@pytest.mark.parametrize("operation_id", EARLIER)
def test_a_callback_id_of_an_earlier_release_remains_valid(operation_id: str) -> None:
    assert SIGNER.read_callback(EARLIER[operation_id]) == (KEY, operation_id)


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    earlier, later = EARLIER["abcd"], SIGNER.sign_callback(KEY, "abcd")
    # The last letters have bits that mean nothing; they must be zero.
    respelled = earlier[:-2] + chr(ord(earlier[-2]) + 1) + "="
    assert b64decode(respelled) == b64decode(earlier)
    assert later.endswith("I")
    as_base64 = b64encode(b32decode(later + "=" * (-len(later) % 8))).decode()
    others = [
        respelled,
        earlier + "\n",
        earlier + "====",
        later[:-1] + "J",
        later + "===",
        as_base64,
    ]
    for text in [*others, later.lower(), later + "\n"]:
        with pytest.raises(Invalid):
            SIGNER.read_callback(text)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "nonsense!",
        "AAAA",
        "AI",
        "AI======",
        "AIé",
        "é" * 88,
        "A" * 88,
        "A" * (CHECKPOINT_TOKEN_CHARS_MAX + 4),
    ],
)
def test_nonsense_is_refused_with_its_kind_and_reason(token: str) -> None:
    with pytest.raises(Invalid, match=r"^Invalid checkpoint token: "):
        SIGNER.read_token(token)
    with pytest.raises(Invalid, match=r"^Invalid callback id: "):
        SIGNER.read_callback(token)


def test_a_token_over_the_limit_is_refused_by_its_length() -> None:
    with pytest.raises(Invalid, match="2052 characters, expected 1 to 2048"):
        SIGNER.read_token("A" * (CHECKPOINT_TOKEN_CHARS_MAX + 4))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 5"):
        Signer(b"short")


def test_a_marker_unpacks_as_it_was_packed() -> None:
    assert unpack_marker("list", pack_marker("list", (5, "x")), tuple[int, str]) == (5, "x")


@pytest.mark.parametrize(
    "marker",
    ["x", "nonsense!", "é", pack_marker("list", (5,)), pack_marker("list", ("5", "x")), "AAAA"],
)
def test_a_malformed_marker_is_refused(marker: str) -> None:
    with pytest.raises(Invalid, match=r"^malformed page marker"):
        unpack_marker("list", marker, tuple[int, str])


def test_a_marker_of_another_listing_is_refused() -> None:
    with pytest.raises(Invalid, match="it belongs to 'events', not to 'list'"):
        unpack_marker("list", pack_marker("events", (5,)), tuple[int])


def test_a_marker_over_the_limit_is_refused() -> None:
    with pytest.raises(Invalid, match=f"limit {MARKER_CHARS_MAX}"):
        unpack_marker("list", "A" * (MARKER_CHARS_MAX + 1), tuple[int])
