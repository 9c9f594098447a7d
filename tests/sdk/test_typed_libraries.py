"""Typed values of attrs classes, msgspec Structs and pydantic models."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from perdure.exceptions import SerDesError
from perdure.typed import TypedSerDes

T = TypeVar("T")


@attrs.frozen
class Account:
    owner: str
    _secret: bytes
    labels: set[str] = attrs.field(factory=set[str])
    length: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.owner))


class Circle(msgspec.Struct, tag=True, rename="camel", frozen=True):
    outer_radius: float


class Square(msgspec.Struct, tag=True, rename="camel", frozen=True):
    side_length: float
    nested: Circle | None = None


class Holder(msgspec.Struct, Generic[T]):
    held: T


class User(pydantic.BaseModel):
    id: int
    since: datetime
    friends: "list[User]" = pydantic.Field(default_factory=list["User"], alias="mates")


class Animal(pydantic.BaseModel):
    name: str


class Dog(Animal):
    breed: str


class Owner(pydantic.BaseModel):
    pet: Animal


class Spoken(pydantic.BaseModel):
    word: str

    @pydantic.model_serializer
    def as_text(self) -> str:
        return self.word


class Tags(pydantic.RootModel[set[str]]):
    pass


@dataclass
class Everything:
    account: Account
    shape: Circle | Square
    user: User
    holder: Holder[set[int]]


NOON = datetime(2026, 1, 2, 12)  # noqa: DTZ001 - pydantic keeps naive ones as well
ACCOUNT = Account("ann", b"x", {"a"})
USER = User(id=1, since=NOON, mates=[User(id=2, since=NOON)])


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Account, ACCOUNT, '{"owner":"ann","_secret":"eA==","labels":["a"],"length":3}'),
        (Circle, Circle(1.0), '{"type":"Circle","outerRadius":1.0}'),
        (
            Circle | Square,
            Square(1.0, Circle(2.0)),
            '{"type":"Square","sideLength":1.0,"nested":{"type":"Circle","outerRadius":2.0}}',
        ),
        (Holder[set[int]], Holder({1}), '{"held":[1]}'),
        (Animal, Animal(name="x"), '{"name":"x"}'),
        (Tags, Tags({"a"}), '["a"]'),
        (Animal | None, Animal(name="x"), '{"name":"x"}'),
        (Animal | Tags, Tags({"a"}), '{"$type":"Tags","$value":["a"]}'),
    ],
)
def test_each_kind_is_written_by_its_fields_and_comes_back(
    annotation: Any, value: Any, text: str
) -> None:
    serdes = TypedSerDes(annotation)
    assert serdes.serialize(value) == text
    back = serdes.deserialize(text)
    assert back == value
    assert type(back) is type(value)


def test_they_may_contain_each_other() -> None:
    value = Everything(ACCOUNT, Square(1.0), USER, Holder({1, 2}))
    serdes = TypedSerDes(dict[str, Everything])
    assert serdes.deserialize(serdes.serialize({"k": value})) == {"k": value}


def test_a_model_that_would_come_back_as_another_is_refused() -> None:
    with pytest.raises(SerDesError, match=r"\$: expected Owner"):
        TypedSerDes(Owner).serialize(Owner(pet=Dog(name="x", breed="y")))
    with pytest.raises(SerDesError, match=r"\$: expected Spoken"):
        TypedSerDes(Spoken | str).serialize(Spoken(word="x"))
    with pytest.raises(SerDesError, match=r"\$: expected Animal, got Dog"):
        TypedSerDes(Animal).serialize(Dog(name="x", breed="y"))


def test_what_a_model_refuses_is_said() -> None:
    with pytest.raises(SerDesError, match=r"\$\[0\]\.since: expected User, .*: Field required"):
        TypedSerDes(list[User]).deserialize('[{"id":1}]')


def test_the_tag_of_another_struct_is_refused() -> None:
    with pytest.raises(SerDesError, match=r"\$\.type: expected 'Circle', got 'Square'"):
        TypedSerDes(Circle).deserialize('{"type":"Square","outerRadius":1.0}')


def test_the_error_of_the_member_which_is_meant_is_the_one_shown() -> None:
    with pytest.raises(SerDesError, match=r"\$\.outerRadius: expected float, got str"):
        TypedSerDes(Circle | Square).deserialize('{"type":"Circle","outerRadius":"x"}')


def test_neither_pydantic_nor_attrs_is_imported_for_others() -> None:
    program = (
        "import sys, dataclasses, perdure.typed as t\n"
        "C = dataclasses.make_dataclass('C', [('x', int)])\n"
        "t.TypedSerDes(C).serialize(C(1))\n"
        "assert not {'pydantic', 'attr', 'attrs'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
