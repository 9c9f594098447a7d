"""Codecs of classes with fields, written as JSON objects.

Dataclasses, attrs classes, msgspec Structs, named tuples and TypedDicts are read through their
constructors. Unknown fields are ignored, and missing ones get their defaults, so classes may gain
and lose fields while executions run. pydantic models write and read themselves. Neither pydantic
nor attrs is imported here: a class that uses them has imported them.
"""

import dataclasses
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast, is_typeddict

import msgspec

from perdure.typed.codecs import (
    EVERY_SHAPE,
    OBJECT,
    Codec,
    LiteralCodec,
    Mismatch,
    json_shape,
    type_of,
)
from perdure.typed.containers import TYPE_KEY, VALUE_KEY, is_tagged

REASON_CHARS_MAX: Final = 300


class FieldSpec(NamedTuple):
    """One field of a class.

    `argument` is its name in the constructor; None if the constructor does not take it, in which
    case the field is set afterwards.
    """

    name: str
    written: str
    argument: str | None
    required: bool


@dataclass(frozen=True)
class FieldCodec:
    """A field with the codec of its annotation."""

    spec: FieldSpec
    codec: Codec


class ClassCodec(Codec):
    """Instances of exactly one class. `complete` adds its fields, which may be of this class."""

    shapes = frozenset({OBJECT})

    def __init__(self, kind: type, name: str) -> None:
        self.kind = kind
        self.expected = name
        self._make = cast("Callable[..., Any]", kind)
        self._fields: Sequence[FieldCodec] = ()
        self._tag = _struct_tag(kind)

    def complete(self, fields: Sequence[FieldCodec]) -> None:
        """Set the fields."""
        self._fields = fields
        self.constants = {
            **{name: frozenset({value}) for name, value in self._tag.items()},
            **_constants(fields),
        }

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        written = dict(self._tag)
        for field in self._fields:
            try:
                written[field.spec.written] = field.codec.write(getattr(value, field.spec.name))
            except Mismatch as mismatch:
                raise mismatch.at(f".{field.spec.name}") from None
        return written

    def read(self, written: Any) -> Any:
        found = read_fields(self, self._fields, self._untagged(written))
        arguments = {field.argument: value for field, value in found if field.argument is not None}
        try:
            instance = self._make(**arguments)
        except Exception as error:  # constructors are user code
            raise refused_by(self.expected, error) from error
        for field, value in found:
            if field.argument is None:
                object.__setattr__(instance, field.name, value)
        return instance

    def _untagged(self, written: Any) -> Any:
        if (
            is_tagged(written) and written[TYPE_KEY] == self.expected
        ):  # it was a member of a union before
            return written[VALUE_KEY]
        if is_tagged(written):
            raise Mismatch(self.expected, f"the tag {written[TYPE_KEY]!r}")
        for name, value in self._tag.items():
            if type_of(written) is dict and written.get(name, value) != value:
                raise Mismatch(repr(value), repr(written[name])).at(f".{name}")
        return written


class TypedDictCodec(Codec):
    """A TypedDict: a dict with these keys and no others, since others would not be read back."""

    shapes = frozenset({OBJECT})
    kind = dict

    def __init__(self, name: str) -> None:
        self.expected = name
        self._fields: Mapping[str, FieldCodec] = {}

    def complete(self, fields: Sequence[FieldCodec]) -> None:
        """Set the keys."""
        self._fields = {field.spec.name: field for field in fields}
        self.constants = _constants([field for field in fields if field.spec.required])

    def write(self, value: Any) -> Any:
        if type_of(value) is not dict:
            raise self.refuse(value)
        entries = cast("dict[str, Any]", value)
        for key in entries:
            if key not in self._fields:
                raise Mismatch(f"no such key in {self.expected}", "one").at(f"[{key!r}]")
        written: dict[str, Any] = {}
        for name, field in self._fields.items():
            if name in entries:
                try:
                    written[name] = field.codec.write(entries[name])
                except Mismatch as mismatch:
                    raise mismatch.at(f"[{name!r}]") from None
            elif field.spec.required:
                raise missing(field)
        return written

    def read(self, written: Any) -> Any:
        found = read_fields(self, list(self._fields.values()), written)
        return {field.name: value for field, value in found}


class PydanticCodec(Codec):
    """A pydantic model. It is refused unless what it writes is read back as an equal model."""

    def __init__(self, kind: Any, name: str) -> None:
        self.kind = kind
        self.expected = name
        self._model = kind
        rooted = issubclass(kind, sys.modules["pydantic"].RootModel)
        self.shapes = EVERY_SHAPE if rooted else frozenset({OBJECT})

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise self.refuse(value)
        try:
            written = value.model_dump(
                mode="json", by_alias=True, round_trip=True, warnings="error"
            )
        except Exception as error:  # of pydantic, or of a user's serializer
            raise refused_by(self.expected, error) from error
        if json_shape(written) not in self.shapes or self.read(written) != value:
            raise Mismatch(self.expected, "one that would be read back differently")
        return written

    def read(self, written: Any) -> Any:
        try:
            return self._model.model_validate(written)
        except sys.modules["pydantic"].ValidationError as error:
            first = error.errors(include_url=False)[0]
            parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise refused_by(self.expected, first["msg"]).at("".join(parts)) from error
        except Exception as error:  # of a user's validator
            raise refused_by(self.expected, error) from error


def read_fields(
    codec: Codec, fields: Sequence[FieldCodec], written: Any
) -> list[tuple[FieldSpec, Any]]:
    """Return the values of the present fields; raise `Mismatch` if a required one is absent."""
    if not isinstance(written, dict):
        raise codec.refuse(written)
    entries = cast("dict[str, Any]", written)
    found: list[tuple[FieldSpec, Any]] = []
    for field in fields:
        if field.spec.written in entries:
            try:
                found.append((field.spec, field.codec.read(entries[field.spec.written])))
            except Mismatch as mismatch:
                raise mismatch.at(f".{field.spec.written}") from None
        elif field.spec.required:
            raise missing(field)
    return found


def missing(field: FieldCodec) -> Mismatch:
    """Return the mismatch of an absent field without a default."""
    return Mismatch(field.codec.expected, "nothing").at(f".{field.spec.written}")


def refused_by(name: str, error: Exception | str) -> Mismatch:
    """Return the mismatch for an exception of the class itself."""
    return Mismatch(name, f"a value that it refuses: {str(error)[:REASON_CHARS_MAX]}")


def fields_of(kind: Any, hints: Mapping[str, Any]) -> list[FieldSpec] | None:
    """Return the fields of a class, in order; None if it is not a class with fields."""
    if dataclasses.is_dataclass(kind):
        return [
            FieldSpec(
                field.name,
                field.name,
                field.name if field.init else None,
                field.init
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(kind)
        ]
    if hasattr(kind, "__attrs_attrs__"):
        return [_attrs_field(attribute) for attribute in kind.__attrs_attrs__]
    if issubclass(kind, msgspec.Struct):
        return [
            FieldSpec(field.name, field.encode_name, field.name, field.required)
            for field in msgspec.structs.fields(kind)
        ]
    if hasattr(kind, "_field_defaults"):  # a named tuple
        return [FieldSpec(n, n, n, n not in kind._field_defaults) for n in kind._fields]
    if is_typeddict(kind):
        return [FieldSpec(n, n, n, _required(kind, n, hint)) for n, hint in hints.items()]
    return None


def _required(kind: Any, key: str, hint: Any) -> bool:
    """Return whether a key is required; `hint` has no marker when the annotation is a string."""
    match typing.get_origin(hint):
        case typing.Required:
            return True
        case typing.NotRequired:
            return False
        case _:
            return key in kind.__required_keys__


def is_model(kind: Any) -> bool:
    """Return whether this is a model of pydantic 2."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _attrs_field(attribute: Any) -> FieldSpec:
    required = attribute.init and attribute.default is sys.modules["attr"].NOTHING
    argument = attribute.alias if attribute.init else None
    return FieldSpec(attribute.name, attribute.name, argument, required)


def _struct_tag(kind: type) -> dict[str, Any]:
    config = getattr(kind, "__struct_config__", None)
    return {} if config is None or config.tag is None else {config.tag_field: config.tag}


def _constants(fields: Sequence[FieldCodec]) -> dict[str, frozenset[Any]]:
    return {
        field.spec.written: field.codec.values
        for field in fields
        if isinstance(field.codec, LiteralCodec)
    }
