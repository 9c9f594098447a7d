"""Codecs of scalar values, which write one type as JSON and read it back as the same type.

A codec writes only what it can read back as the same type; anything else is a `Mismatch`, which
acquires its path as it is raised. `shapes` are the kinds of JSON that a codec writes: a union whose
members differ in them needs no tags.
"""

import base64
import binascii
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from typing import Any, Final, cast
from uuid import UUID

import msgspec

GOT_CHARS_MAX: Final = 80

NULL, BOOL, INT, FLOAT, TEXT, ARRAY, OBJECT = "null", "bool", "int", "float", "text", "[]", "{}"
EVERY_SHAPE: Final = frozenset({NULL, BOOL, INT, FLOAT, TEXT, ARRAY, OBJECT})
PRIMITIVES: Final = (str, bool, int, float, type(None))

_SHAPES: Final[Mapping[type, str]] = {
    type(None): NULL,
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: TEXT,
    list: ARRAY,
    dict: OBJECT,
}


class Mismatch(Exception):
    """A value does not match its annotation."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected = expected
        self.got = got
        self.path = ""

    def at(self, part: str) -> "Mismatch":
        """Return this mismatch, with the part `.field` or `[index]` added to its path."""
        self.path = part + self.path
        return self

    def __str__(self) -> str:
        return f"${self.path}: expected {self.expected}, got {self.got}"


class Codec(ABC):
    """Writes and reads the values of one annotation.

    `expected` is its name in messages. `kind` is the class of its values, where there is one.
    `constants` are the fields, by their JSON names, that always hold one of a few JSON values:
    they distinguish the members of a union.
    """

    expected: str
    shapes: frozenset[str]
    kind: type | None = None
    constants: Mapping[str, frozenset[Any]] = {}

    @abstractmethod
    def write(self, value: Any) -> Any:
        """Return `value` in a form that `json.dumps` accepts; raise `Mismatch`."""

    @abstractmethod
    def read(self, written: Any) -> Any:
        """Return the value of a written form; raise `Mismatch`."""

    def refuse(self, value: object) -> Mismatch:
        """Return the mismatch of `value`."""
        return Mismatch(self.expected, describe(value))


class PrimitiveCodec(Codec):
    """A native JSON type. The type must be exact, since subclasses are not read back."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.expected = "None" if kind is type(None) else kind.__name__
        self.shapes = frozenset({shape_of(kind)})

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        return value

    def read(self, written: Any) -> Any:
        return self.write(written)


class FloatCodec(Codec):
    """A float. Ints are accepted, as by type checkers; JSON has one kind of number."""

    expected = "float"
    shapes = frozenset({FLOAT})
    kind = float

    def write(self, value: Any) -> Any:
        if type_of(value) is float:
            return value
        if type_of(value) is int and abs(value) <= 1 << 53:  # larger ints may have no exact float
            return float(value)
        raise self.refuse(value)

    def read(self, written: Any) -> Any:
        return self.write(written)


class JsonCodec(Codec):
    """A value without an annotation inside an annotated one: plain JSON only."""

    expected = "plain JSON, since there is no annotation"
    shapes = EVERY_SHAPE

    def write(self, value: Any) -> Any:
        kind = type_of(value)
        if kind is list:
            self._each((f"[{index}]", item) for index, item in enumerate(value))
        elif kind is dict:
            if not all(type_of(key) is str for key in value):
                raise Mismatch("keys of type str, since there is no annotation", "others")
            self._each((f"[{key!r}]", item) for key, item in value.items())
        elif kind not in PRIMITIVES:
            raise self.refuse(value)
        return value

    def read(self, written: Any) -> Any:
        return written

    def _each(self, parts: Iterable[tuple[str, Any]]) -> None:
        for part, item in parts:
            try:
                self.write(item)
            except Mismatch as mismatch:
                raise mismatch.at(part) from None


class TextCodec(Codec):
    """A type whose values are written as text."""

    shapes = frozenset({TEXT})

    def __init__(
        self, kind: type, to_text: Callable[[Any], str], of_text: Callable[[str], Any]
    ) -> None:
        self.kind = kind
        self.expected = kind.__name__
        self._to_text = to_text
        self._of_text = of_text

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        return self._to_text(value)

    def read(self, written: Any) -> Any:
        if type_of(written) is not str:
            raise self.refuse(written)
        try:
            return self._of_text(written)
        except (ValueError, ArithmeticError, binascii.Error, msgspec.ValidationError):
            raise self.refuse(written) from None


class DecimalCodec(TextCodec):
    """A Decimal, as text; numbers sent by other clients are read too."""

    def __init__(self) -> None:
        super().__init__(Decimal, str, Decimal)

    def read(self, written: Any) -> Any:
        return super().read(str(written) if type_of(written) in (int, float) else written)


class PathCodec(Codec):
    """A path. The class of `Path("x")` depends on the system, so that class is compared."""

    shapes = frozenset({TEXT})

    def __init__(self, kind: type[PurePath]) -> None:
        self.expected = kind.__name__
        self.kind = type(kind("."))
        self._class = cast("Any", kind)

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        return str(value)

    def read(self, written: Any) -> Any:
        if type_of(written) is not str:
            raise self.refuse(written)
        return self._class(written)


class EnumCodec(Codec):
    """An enum, by value where all its values are JSON primitives, else by name.

    Flags are always written by value, since their combinations have no name.
    """

    def __init__(self, kind: type[Enum]) -> None:
        self.kind = kind
        members = list(kind)
        self._by_value = issubclass(kind, Flag) or all(
            type(member.value) in PRIMITIVES for member in members
        )
        self._class = cast("Any", kind)
        written = [self._write(member) for member in members]
        self.expected = f"{kind.__qualname__} ({shortened(', '.join(map(repr, written)))})"
        self.shapes = frozenset({INT} if issubclass(kind, Flag) else map(json_shape, written))

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        return self._write(value)

    def read(self, written: Any) -> Any:
        try:
            return self._class(written) if self._by_value else self._class[written]
        except (ValueError, KeyError, TypeError):
            raise self.refuse(written) from None

    def _write(self, member: Enum) -> Any:
        return member.value if self._by_value else member.name


class LiteralCodec(Codec):
    """A set of constants, each written by the codec of its type."""

    def __init__(self, constants: tuple[Any, ...], codecs: tuple[Codec, ...]) -> None:
        self.expected = f"one of {', '.join(map(repr, constants))}"
        pairs = zip(constants, codecs, strict=True)
        self._pairs = [(constant, codec.write(constant)) for constant, codec in pairs]
        self.shapes = frozenset(json_shape(written) for _, written in self._pairs)
        self.values = frozenset(written for _, written in self._pairs)

    def write(self, value: Any) -> Any:
        for constant, written in self._pairs:
            if constant == value and type(constant) is type(value):
                return written
        raise self.refuse(value)

    def read(self, written: Any) -> Any:
        for constant, text in self._pairs:
            if text == written and type(text) is type(written):
                return constant
        raise self.refuse(written)


def type_of(value: Any) -> Any:
    """Return the class of a value as `Any`, so that type checkers do not narrow."""
    return cast("Any", type(value))


def json_shape(written: Any) -> str:
    """Return the kind of JSON of a written value."""
    return shape_of(type_of(written))


def shape_of(kind: type) -> str:
    """Return the kind of JSON that values of a class are written as."""
    return _SHAPES.get(kind, TEXT)


def describe(value: object) -> str:
    """Return the type of `value` and, for primitives, the value."""
    kind = type(value)
    if value is None:
        return "None"
    name = kind.__qualname__
    if kind in PRIMITIVES or isinstance(value, Enum):
        return f"{name} {shortened(repr(value))}"
    return name


def shortened(text: str) -> str:
    """Return `text`, cut to a length that suits a message."""
    return text if len(text) <= GOT_CHARS_MAX else f"{text[:GOT_CHARS_MAX]}…"


def json_text(written: Any) -> str:
    """Return JSON by which values are sorted, so that a set has the same text on every machine."""
    return json.dumps(written, sort_keys=True)


SCALARS: Final[Mapping[Any, Codec]] = {
    None: PrimitiveCodec(type(None)),
    type(None): PrimitiveCodec(type(None)),
    str: PrimitiveCodec(str),
    bool: PrimitiveCodec(bool),
    int: PrimitiveCodec(int),
    float: FloatCodec(),
    bytes: TextCodec(
        bytes,
        lambda value: base64.b64encode(value).decode("ascii"),
        lambda text: base64.b64decode(text, validate=True),
    ),
    bytearray: TextCodec(
        bytearray,
        lambda value: base64.b64encode(value).decode("ascii"),
        lambda text: bytearray(base64.b64decode(text, validate=True)),
    ),
    UUID: TextCodec(UUID, str, UUID),
    Decimal: DecimalCodec(),
    datetime: TextCodec(datetime, datetime.isoformat, datetime.fromisoformat),
    date: TextCodec(date, date.isoformat, date.fromisoformat),
    time: TextCodec(time, time.isoformat, time.fromisoformat),
    timedelta: TextCodec(
        timedelta, msgspec.to_builtins, lambda text: msgspec.convert(text, type=timedelta)
    ),
}
