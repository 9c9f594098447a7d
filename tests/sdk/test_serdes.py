"""Serializers: values become text and come back."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.client.errors import InvalidArgumentError
from perdure.client.requests import payload_text
from perdure.exceptions import ExecutionError, RetryableSerDesError, SerDesError
from perdure.serdes import (
    ExtendedTypeSerDes,
    JsonSerDes,
    PassThroughSerDes,
    SerDes,
    SerDesContext,
)
from perdure.serdes.serializers import Payloads
from perdure.typed.serdes import encode_result

EXTENDED = ExtendedTypeSerDes()
CONTEXT = SerDesContext("op", "arn")

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)  # machines are busy
@given(VALUES)
def test_extended_values_come_back_as_they_were(value: Any) -> None:
    back = EXTENDED.deserialize(EXTENDED.serialize(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("ü", '"\\u00fc"'),
        ([1, [2, "x"], None], '[1,[2,"x"],null]'),
        ({"k": 1}, '{"t":"m","v":{"k":{"t":"i","v":1}}}'),
        ({"t": "x", "v": True}, '{"t":"m","v":{"t":{"t":"s","v":"x"},"v":{"t":"b","v":true}}}'),
        ([{"a": None}], '{"t":"l","v":[{"t":"m","v":{"a":{"t":"n","v":null}}}]}'),
        ((1, 2.5), '{"t":"t","v":[{"t":"i","v":1},{"t":"f","v":2.5}]}'),
        (b"ab", '{"t":"B","v":"YWI="}'),
        (bytearray(b"x"), '{"t":"B","v":"eA=="}'),
        (memoryview(b"q"), '{"t":"B","v":"cQ=="}'),
        (UUID(int=1), '{"t":"u","v":"00000000-0000-0000-0000-000000000001"}'),
        (Decimal("1.0"), '{"t":"d","v":"1.0"}'),
        (datetime(2020, 1, 1, tzinfo=UTC), '{"t":"dt","v":"2020-01-01T00:00:00+00:00"}'),
        (date(2020, 1, 1), '{"t":"D","v":"2020-01-01"}'),
        ({1: 2, None: 3}, '{"t":"m","v":{"1":{"t":"i","v":2},"null":{"t":"i","v":3}}}'),
    ],
)
def test_the_wire_form_is_the_one_that_other_sdks_write(value: Any, text: str) -> None:
    assert EXTENDED.serialize(value) == text


def test_bytes_like_values_come_back_as_bytes() -> None:
    assert EXTENDED.deserialize(EXTENDED.serialize([bytearray(b"x")])) == [b"x"]


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), {(1, 2): 3}, {b"k": 1}, {1: "a", "1": "b"}, {"deep": [{"er": {1}}]}],
    ids=["set", "object", "tuple key", "bytes key", "two keys alike", "deep inside"],
)
def test_what_cannot_be_written_is_refused(value: Any) -> None:
    with pytest.raises(SerDesError):
        EXTENDED.serialize(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nope",
        '{"a":1}',
        '{"t":"zz","v":1}',
        '{"t":["m"],"v":1}',
        '{"t":"m","v":3}',
        '{"t":"l","v":{}}',
        '{"t":"u","v":"no"}',
        '{"t":"d","v":"no"}',
        '{"t":"dt","v":5}',
        '{"t":"B","v":"*"}',
        '[{"t":"i","v":1}]',
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SerDesError):
        EXTENDED.deserialize(text)


def test_json_is_plain() -> None:
    assert JsonSerDes().serialize({"a": (1, "ü")}, CONTEXT) == '{"a": [1, "\\u00fc"]}'
    assert JsonSerDes().deserialize('{"a": [1]}', CONTEXT) == {"a": [1]}


def test_pass_through_leaves_text_alone() -> None:
    serdes = PassThroughSerDes()
    assert serdes.deserialize(serdes.serialize("{not json", CONTEXT), CONTEXT) == "{not json"


class Raising(SerDes[Any]):
    """A serdes that raises the given error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        raise self._error

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error", [SerDesError("never"), RetryableSerDesError("later"), ExecutionError("stop")]
)
def test_a_serdes_says_itself_whether_trying_again_helps(error: Exception) -> None:
    payloads = Payloads(Raising(error), CONTEXT)
    with pytest.raises(type(error)):
        payloads.write(1)
    with pytest.raises(type(error)):
        payloads.read("1")


def test_any_other_exception_of_a_serdes_is_permanent() -> None:
    payloads = Payloads(Raising(KeyError("x")), CONTEXT)
    with pytest.raises(SerDesError, match="Raising cannot write the value"):
        payloads.write(1)
    with pytest.raises(SerDesError, match="Raising cannot read the value"):
        payloads.read("1")


def test_a_circle_is_refused_and_does_no_harm() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(SerDesError):
        Payloads(EXTENDED, CONTEXT).write(circle)


def test_a_serdes_must_return_text() -> None:
    with pytest.raises(SerDesError, match="must return str, got int"):
        Payloads(PassThroughSerDes(), CONTEXT).write(1)


def test_text_that_cannot_travel_is_refused() -> None:
    payloads = Payloads(PassThroughSerDes(), CONTEXT)
    assert payloads.write("grün") == "grün"
    with pytest.raises(SerDesError, match="surrogates not allowed"):
        payloads.write("file \udcff")


def test_nothing_recorded_is_none() -> None:
    assert Payloads(EXTENDED, CONTEXT).read(None) is None


LOST: dict[str, tuple[object, str]] = {
    "a number and its text": ({1: "one", "1": "text"}, "same text in JSON: 1 and '1'"),
    "None and its text": ([{None: 1, "null": 2}], "same text in JSON: None and 'null'"),
    "True and its text": ({"a": ({True: 1, "true": 2},)}, "same text in JSON: True and 'true'"),
    "NaN": ([math.nan], "neither NaN nor infinities"),
    "an infinity": ({"a": -math.inf}, "neither NaN nor infinities"),
    "half of a surrogate pair": (["\ud800"], "half of a surrogate pair"),
    "a key with half of one": ({"\udcff": 1}, "half of a surrogate pair"),
}


@pytest.mark.parametrize(("value", "reason"), LOST.values(), ids=LOST)
def test_what_json_would_lose_is_refused(value: object, reason: str) -> None:
    with pytest.raises(SerDesError, match=reason):
        Payloads(JsonSerDes(), CONTEXT).write(value)
    with pytest.raises(SerDesError, match=f"The result of 'f' is not JSON: .*{reason}"):
        encode_result(named_f, value)
    with pytest.raises(InvalidArgumentError, match=f"the payload must be JSON: .*{reason}"):
        payload_text(value, None)


def named_f(_event: object, _context: object) -> object:
    """Return nothing: only its name is of interest."""


named_f.__name__ = named_f.__qualname__ = "f"


@pytest.mark.parametrize(
    "value", [{1: 2, "a": {None: 3}}, "\U0001f600 \\ud800", 2**64, [1.5, (2,)], {"\U0001f600": 1}]
)
def test_everything_else_is_written_as_ever(value: object) -> None:
    assert Payloads(JsonSerDes(), CONTEXT).write(value) == json.dumps(value)
    assert encode_result(named_f, value) == json.dumps(value)
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert payload_text(value, None) == compact


@pytest.mark.parametrize("value", [math.inf, "\ud800", ["\udcff", -math.inf], {"\ud800": 1}])
def test_what_stays_within_an_execution_comes_back(value: object) -> None:
    payloads = Payloads(EXTENDED, CONTEXT)
    assert payloads.read(payloads.write(value)) == value
