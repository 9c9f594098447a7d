"""Typed values: they come back as annotated, by way of JSON that people can read."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    Self,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.serdes import ExtendedTypeSerDes
from perdure.typed import TypedSerDes
from perdure.typed.codecs import type_of

T = TypeVar("T")
U = TypeVar("U")


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    S = 1
    L = 2


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Odd(Enum):
    PAIR = (1, 2)
    NOTHING = None


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass
class Tree:
    colour: Colour
    children: "list[Tree]" = field(default_factory=list["Tree"])
    tags: frozenset[str] = frozenset()
    parent: Self | None = None
    point: Point | None = None


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class PairOf(Box[T], Generic[T, U]):
    other: U


@dataclass
class Numbered(Box[int]):
    name: str


@dataclass
class Counted:
    items: list[int]
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.items)


@dataclass(frozen=True)
class Cat:
    lives: int = 9


@dataclass(frozen=True)
class Dog:
    lives: int = 1


@dataclass(frozen=True)
class Paid:
    by: Literal["card", "cash"]
    cents: int
    kind: Literal["paid"] = "paid"


@dataclass(frozen=True)
class Owed:
    cents: int
    kind: Literal["owed"] = "owed"


class Span(NamedTuple):
    start: datetime
    end: datetime | None = None


class Options(TypedDict, total=False):
    size: Required[Size]
    until: date


class Address(TypedDict):
    street: str
    lines: "NotRequired[tuple[int, ...]]"


UserId = NewType("UserId", UUID)

ID = UUID(int=7)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (int, 1, "1"),
        (float, 2.0, "2.0"),
        (str, "ü", '"\\u00fc"'),
        (None, None, "null"),
        (bytes, b"ab", '"YWI="'),
        (bytearray, bytearray(b"x"), '"eA=="'),
        (UUID, ID, '"00000000-0000-0000-0000-000000000007"'),
        (UserId, UserId(ID), '"00000000-0000-0000-0000-000000000007"'),
        (Decimal, Decimal("1.50"), '"1.50"'),
        (datetime, NOON, '"2026-01-02T12:00:00+00:00"'),
        (date, date(2026, 1, 2), '"2026-01-02"'),
        (time, time(12, 30), '"12:30:00"'),
        (timedelta, timedelta(days=1, seconds=2), '"P1DT2S"'),
        (Path, Path("/a/b"), '"/a/b"'),
        (PurePosixPath, PurePosixPath("c"), '"c"'),
        (Colour, Colour.RED, '"red"'),
        (Size, Size.L, "2"),
        (Mood, Mood.BAD, '"bad"'),
        (Rights, Rights.READ | Rights.WRITE, "3"),
        (Odd, Odd.PAIR, '"PAIR"'),
        (Literal["a", 2, Colour.RED], Colour.RED, '"red"'),
        (set[int], {3, 1, 2}, "[1,2,3]"),
        (set, {1}, "[1]"),
        (frozenset[Colour], frozenset({Colour.RED, Colour.GREEN}), '["green","red"]'),
        (tuple[int, str], (1, "a"), '[1,"a"]'),
        (tuple[Point, ...], (Point(1),), '[{"x":1,"y":0}]'),
        (tuple[()], (), "[]"),
        (tuple, (1, "a"), '[1,"a"]'),
        (list[set[int]], [{1}], "[[1]]"),
        (list, [1, {"a": None}], '[1,{"a":null}]'),
        (dict[int, Point], {1: Point(2)}, '{"1":{"x":2,"y":0}}'),
        (dict[UUID, int], {ID: 1}, '{"00000000-0000-0000-0000-000000000007":1}'),
        (dict[tuple[int, int], str], {(1, 2): "a"}, '{"[1, 2]":"a"}'),
        (dict[int | str, int], {1: 1, "1": 2}, '{"1":1,"\\"1\\"":2}'),
        (Point, Point(1, 2), '{"x":1,"y":2}'),
        (Box[set[int]], Box({1}), '{"content":[1]}'),
        (PairOf[int, Colour], PairOf(1, Colour.RED), '{"content":1,"other":"red"}'),
        (Numbered, Numbered(1, "a"), '{"content":1,"name":"a"}'),
        (Counted, Counted([1, 2]), '{"items":[1,2],"count":2}'),
        (Span, Span(NOON), '{"start":"2026-01-02T12:00:00+00:00","end":null}'),
        (Options, {"size": Size.S}, '{"size":1}'),
        (Options, {"size": Size.S, "until": date(2026, 1, 2)}, '{"size":1,"until":"2026-01-02"}'),
        (Address, {"street": "a"}, '{"street":"a"}'),
        (Address, {"street": "a", "lines": (1,)}, '{"street":"a","lines":[1]}'),
        (Annotated[Point, "here"], Point(1), '{"x":1,"y":0}'),
        (Point | None, None, "null"),
        (Point | None, Point(1), '{"x":1,"y":0}'),
        (int | str | list[int], [1], "[1]"),
        (bool | int | float, True, "true"),
        (bool | int | float, 1, "1"),
        (float | int, 1, "1"),
        (Cat | Dog, Dog(), '{"$type":"Dog","$value":{"lives":1}}'),
        (Cat | Dog | None, None, '{"$type":"None","$value":null}'),
        (Mood | str, Mood.BAD, '{"$type":"Mood","$value":"bad"}'),
        (Mood | str, "bad", '{"$type":"str","$value":"bad"}'),
        (set[int] | list[int], {1}, '{"$type":"set[int]","$value":[1]}'),
        (Paid | Owed, Owed(1), '{"cents":1,"kind":"owed"}'),
    ],
)
def test_a_value_is_readable_json_and_comes_back_as_it_was(
    annotation: Any, value: Any, text: str
) -> None:
    serdes = TypedSerDes(annotation)
    assert serdes.serialize(value) == text
    back = serdes.deserialize(text)
    assert back == value
    assert type(back) is type(value)


POINTS = st.builds(Point, st.integers(), st.integers())
LEAVES = st.builds(Tree, st.sampled_from(Colour), point=st.none() | POINTS)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Tree,
        st.sampled_from(Colour),
        st.lists(inner, max_size=4),
        st.frozensets(st.text()),
        st.none() | inner,
        st.none() | POINTS,
    ),
    max_leaves=10,
)

TYPED = st.one_of(
    st.tuples(st.just(Tree), TREES),
    st.tuples(
        st.just(dict[date, set[Point] | Tree | None]),
        st.dictionaries(st.dates(), st.sets(POINTS) | TREES | st.none(), max_size=4),
    ),
    st.tuples(
        st.just(list[Mood | str | UUID | bytes | Decimal]),
        st.lists(
            st.sampled_from(Mood)
            | st.text()
            | st.uuids()
            | st.binary()
            | st.decimals(allow_nan=False)
        ),
    ),
    st.tuples(
        st.just(set[tuple[time, timedelta] | frozenset[Size]]),
        st.sets(
            st.tuples(st.times(), st.timedeltas()) | st.frozensets(st.sampled_from(Size)),
            max_size=5,
        ),
    ),
    st.tuples(
        st.just(Box[Cat | Dog | dict[int, Cat | Dog]]),
        st.builds(
            Box[Any],
            st.builds(Cat, st.integers())
            | st.builds(Dog, st.integers())
            | st.dictionaries(
                st.integers(), st.builds(Cat, st.integers()) | st.builds(Dog, st.integers())
            ),
        ),
    ),
)


def same(one: Any, other: Any) -> bool:
    """Compare values with the types of everything inside."""
    kind = type_of(one)
    if kind is not type(other) or one != other:
        return False
    if kind is dict:
        return all(same(*pair) for pair in zip(one.items(), other.items(), strict=True))
    if kind in (list, tuple):
        return all(map(same, one, other))
    if kind in (set, frozenset):
        return {(type(item), item) for item in one} == {(type(item), item) for item in other}
    names: dict[str, Any] = getattr(one, "__dataclass_fields__", {})
    return all(same(getattr(one, name), getattr(other, name)) for name in names)


@settings(deadline=None)  # machines are busy
@given(TYPED)
def test_generated_values_come_back_with_every_type_inside(typed: tuple[Any, Any]) -> None:
    annotation, value = typed
    serdes = TypedSerDes(annotation)
    assert same(serdes.deserialize(serdes.serialize(value)), value)


@settings(deadline=None)  # machines are busy
@given(st.sets(st.text() | st.integers()))
def test_a_set_has_one_text_whatever_its_order(value: set[str | int]) -> None:
    items = list(value)
    serdes = TypedSerDes(set[str | int])
    assert serdes.serialize(set(items)) == serdes.serialize({*reversed(items)})


@pytest.mark.parametrize("value", [None, 1, [1, "a"], {"a": 1}, (1, NOON), {"t": "x", "v": 1}])
def test_without_an_annotation_the_form_is_the_extended_one(value: Any) -> None:
    extended = ExtendedTypeSerDes()
    for serdes in (TypedSerDes(), TypedSerDes(Any), TypedSerDes(object)):
        text = serdes.serialize(value)
        assert text == extended.serialize(value)
        assert serdes.deserialize(text) == value


def test_an_int_where_a_float_is_said_comes_back_as_a_float() -> None:
    serdes = TypedSerDes(Box[float])
    assert json.loads(serdes.serialize(Box(1))) == {"content": 1.0}
    assert type(serdes.deserialize('{"content":1}').content) is float


def test_numbers_are_read_as_decimals_without_passing_a_float() -> None:
    assert TypedSerDes(Decimal).deserialize("0.1") == Decimal("0.1")


def test_a_class_inside_a_function_may_name_itself() -> None:
    @dataclass
    class Node:
        next: "Node | None" = None

    serdes = TypedSerDes(Node)
    assert serdes.deserialize(serdes.serialize(Node(Node()))) == Node(Node())
