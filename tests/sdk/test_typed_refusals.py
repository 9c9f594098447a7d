"""Values that do not match their annotation: refused with their place."""

from dataclasses import InitVar, dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

from perdure.exceptions import SerDesError, ValidationError
from perdure.serdes import ExtendedTypeSerDes
from perdure.typed import TypedSerDes


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    YES = "yes"


@dataclass
class Item:
    name: str
    colour: Colour = Colour.RED


@dataclass
class Order:
    items: list[Item]
    notes: dict[str, set[int]]


@dataclass
class Special(Item):
    extra: int = 0


@dataclass(frozen=True)
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


@dataclass
class Forgetful:
    seed: InitVar[int]


@dataclass
class Cat:
    age: int = 0


@dataclass
class Dog:
    age: int = 0
    tricks: tuple[str, ...] = ()


class Pair(NamedTuple):
    one: int
    two: int


class Keyed(TypedDict):
    one: int


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (int, True, r"\$: expected int, got bool True"),
        (str, Word.YES, r"\$: expected str, got Word <Word.YES: 'yes'>"),
        (float, 1 << 60, r"\$: expected float, got int"),
        (date, datetime(2026, 1, 1), r"\$: expected date, got datetime"),  # noqa: DTZ001 - none needed
        (Item, {"name": "x"}, r"\$: expected Item, got dict"),
        (Item, Special("x"), r"\$: expected Item, got Special"),
        (
            Order,
            Order([Item("a"), Item("b", "red")], {}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            r"as Order: \$\.items\[1\]\.colour: expected Colour \('red'\), got str 'red'",
        ),
        (Order, Order([], {"k": {"x"}}), r"\$\.notes\['k'\]\[0\]: expected int, got str 'x'"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (set[int], [1], r"\$: expected set, got list"),
        (list[int], (1,), r"\$: expected list, got tuple"),
        (tuple[int, int], Pair(1, 2), r"\$: expected tuple of 2, got Pair"),
        (tuple[int, int], (1,), r"\$: expected tuple of 2, got 1 items"),
        (dict[int, int], {"1": 1}, r"\$\[key '1'\]: expected int, got str '1'"),
        (Keyed, {"one": 1, "two": 2}, r"\$\['two'\]: expected no such key in Keyed"),
        (Keyed, {}, r"\$\.one: expected int, got nothing"),
        (Literal["a"], "b", r"\$: expected one of 'a', got str 'b'"),
        (int | None, "x", r"\$: expected int | None, got str 'x'"),
        (Item | None, Item(3), r"\$\.name: expected str, got int 3"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (dict[str, Any], {"a": [(1,)]}, r"\$\['a'\]\[0\]: expected plain JSON, .*, got tuple"),
        (dict[str, Any], {"a": {1: 2}}, r"\$\['a'\]: expected keys of type str"),
    ],
)
def test_a_value_that_is_not_what_its_annotation_says_is_not_written(
    annotation: Any, value: Any, complaint: str
) -> None:
    with pytest.raises(SerDesError, match=complaint):
        TypedSerDes(annotation).serialize(value)


@pytest.mark.parametrize(
    ("annotation", "text", "complaint"),
    [
        (int, "nope", "not JSON"),
        (int, '"1"', r"\$: expected int, got str '1'"),
        (Item, "[]", r"\$: expected Item, got list"),
        (Item, '{"colour":"red"}', r"\$\.name: expected str, got nothing"),
        (Item, '{"name":"x","colour":"blue"}', r"\$\.colour: expected Colour \('red'\), got str"),
        (list[date], '["2026-01-01","soon"]', r"\$\[1\]: expected date, got str 'soon'"),
        (set[Any], "[[1]]", "unhashable"),
        (dict[int, int], '{"x":1}', r"\$\[key 'x'\]: expected int"),
        (Even, '{"number":3}', r"\$: expected Even, got a value that it refuses: odd"),
        (Cat | Dog, '{"$type":"Cow","$value":{}}', r"expected Cat | Dog, got the tag 'Cow'"),
        (Cat | Dog, '{"age":3}', "which may be Cat and Dog"),
        (Cat, '{"$type":"Dog","$value":{}}', "expected Cat, got the tag 'Dog'"),
    ],
)
def test_text_that_is_not_what_the_annotation_says_is_not_read(
    annotation: Any, text: str, complaint: str
) -> None:
    with pytest.raises(SerDesError, match=complaint):
        TypedSerDes(annotation).deserialize(text)


@pytest.mark.parametrize(
    "annotation", [object(), type[int], Forgetful, TypedSerDes, list[TypedSerDes]]
)
def test_an_annotation_without_a_form_is_refused(annotation: Any) -> None:
    with pytest.raises(ValidationError):
        TypedSerDes(annotation)


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(SerDesError, match="nested too deeply"):
        TypedSerDes(list[Any]).serialize(circle)


def test_fields_that_are_gone_are_ignored_and_new_ones_take_their_defaults() -> None:
    text = '{"name":"x","weight":3}'
    assert TypedSerDes(Item).deserialize(text) == Item("x", Colour.RED)


def test_a_type_may_become_a_union() -> None:
    assert TypedSerDes(Item | Even).deserialize('{"name":"x"}') == Item("x")
    assert TypedSerDes(Item | Even | None).deserialize('{"name":"x"}') == Item("x")


def test_a_union_may_lose_members() -> None:
    text = TypedSerDes(Cat | Dog).serialize(Cat(3))
    assert TypedSerDes(Cat).deserialize(text) == Cat(3)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ({1}, r"-> set\[int\]"),
        (frozenset({"a"}), r"-> frozenset\[str\]"),
        (Colour.RED, "-> Colour"),
        (
            {"deep": [Item("x")]},
            r"-> Item` or a type that contains it, or pass TypedSerDes\(Item\)",
        ),
    ],
)
def test_without_an_annotation_the_message_says_which_one_to_add(
    value: Any, annotation: str
) -> None:
    with pytest.raises(SerDesError, match=annotation):
        ExtendedTypeSerDes().serialize(value)
