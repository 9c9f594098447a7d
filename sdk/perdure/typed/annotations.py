"""Compiler from annotations to codecs.

Codecs are cached by annotation, since compiling one takes far longer than using it. An annotation
that has no codec raises `UnsupportedAnnotation`: the callers decide whether that is an error, or
plain data.
"""

import dataclasses
import functools
import types
import typing
from collections import Counter, abc
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from perdure.serdes.batch_result import BatchResult
from perdure.typed.batch import BatchResultCodec
from perdure.typed.codecs import (
    SCALARS,
    Codec,
    EnumCodec,
    JsonCodec,
    LiteralCodec,
    PathCodec,
    type_of,
)
from perdure.typed.containers import DictCodec, ListCodec, TupleCodec, UnionCodec
from perdure.typed.records import (
    ClassCodec,
    FieldCodec,
    FieldSpec,
    PydanticCodec,
    TypedDictCodec,
    fields_of,
    is_model,
)

CODECS_MAX: Final = 1_024
DEPTH_MAX: Final = 100

Bindings = Mapping[Any, Any]

# The concrete classes that abstract collections are read as.
CONCRETE: Final[Mapping[Any, type]] = {
    **dict.fromkeys((list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable), list),
    **dict.fromkeys((set, abc.Set, abc.MutableSet), set),
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), dict),
    frozenset: frozenset,
    tuple: tuple,
}

SELF: Final[Any] = typing.Self  # pyright: ignore[reportUnknownMemberType] - a special form, used as a value

_WRAPPERS: Final = (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)


class UnsupportedAnnotation(Exception):
    """Values of this annotation cannot be recorded."""


def codec_of(annotation: Any) -> Codec:
    """Return the codec of an annotation; raise `UnsupportedAnnotation`."""
    try:
        return _compiled(annotation)
    except TypeError as error:  # it cannot be hashed
        raise UnsupportedAnnotation(
            f"{annotation!r} is not an annotation of values: {error}"
        ) from error


def unwrapped(annotation: Any, bindings: Bindings) -> Any:
    """Return an annotation without wrappers that do not affect the recorded form."""
    while True:
        origin = typing.get_origin(annotation)
        if isinstance(annotation, typing.TypeVar):
            annotation = bindings.get(annotation, _default(annotation))
        elif annotation is SELF:
            annotation = bindings.get(SELF, Any)
        elif origin is typing.Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif origin in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = …`, from Python 3.12 on
            annotation = annotation.__value__
        else:
            return annotation


def is_union(annotation: Any) -> bool:
    """Return whether this is `A | B`, in either spelling."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def name_of(annotation: Any, bindings: Bindings) -> str:
    """Return the name of an annotation in messages and tags."""
    annotation = unwrapped(annotation, bindings)
    if annotation in (None, type(None)):
        return "None"
    if annotation is ...:
        return "..."
    args = typing.get_args(annotation)
    if is_union(annotation):
        return " | ".join(name_of(arg, bindings) for arg in args)
    if typing.get_origin(annotation) is typing.Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    name = str(getattr(annotation, "__name__", annotation))
    return f"{name}[{', '.join(name_of(arg, bindings) for arg in args)}]" if args else name


def hints_of(kind: Any, *, with_markers: bool = False) -> dict[str, Any]:
    """Return the annotations of a class, which may refer to the class.

    With `with_markers`, `Annotated`, `Required` and `NotRequired` are kept.
    """
    try:
        return typing.get_type_hints(
            kind, localns={kind.__name__: kind}, include_extras=with_markers
        )
    except Exception as error:  # annotations are user code
        raise UnsupportedAnnotation(
            f"The annotations of {kind.__qualname__} cannot be resolved: {error}"
        ) from error


def bindings_of(kind: Any, args: tuple[Any, ...], outer: Bindings) -> dict[Any, Any]:
    """Return the types bound to the variables of a generic class and of its bases."""
    parameters = getattr(kind, "__parameters__", ())
    bindings = {p: unwrapped(a, outer) for p, a in zip(parameters, args, strict=False)}
    for ancestor in reversed(kind.__dict__.get("__orig_bases__", ())):
        origin = typing.get_origin(ancestor)
        if isinstance(origin, type) and origin not in (typing.Generic, typing.Protocol):
            inherited = bindings_of(origin, typing.get_args(ancestor), bindings)
            bindings = {**inherited, **bindings}
    return bindings


class _Compiler:
    """Compiles one annotation. Classes with fields are remembered, since they may be recursive."""

    def __init__(self) -> None:
        self._records: dict[Any, Codec] = {}

    def compile(self, annotation: Any, bindings: Bindings, depth: int) -> Codec:
        annotation = unwrapped(annotation, bindings)
        if depth > DEPTH_MAX:
            raise UnsupportedAnnotation(f"{name_of(annotation, {})} contains itself endlessly.")
        if annotation in (Any, object):
            return JsonCodec()
        if annotation in SCALARS:
            return SCALARS[annotation]
        origin = typing.get_origin(annotation) or annotation
        args = typing.get_args(annotation)
        if is_union(annotation):
            return self._union(args, bindings, depth)
        if origin is typing.Literal:
            return self._literal(args, depth)
        if origin in CONCRETE:
            return self._collection(CONCRETE[origin], args, bindings, depth)
        if origin is BatchResult:
            return BatchResultCodec(self.compile(args[0] if args else Any, bindings, depth + 1))
        if isinstance(origin, type):
            return self._class(origin, args, bindings, depth)
        raise UnsupportedAnnotation(f"Values annotated with {annotation!r} cannot be recorded.")

    def _union(self, args: tuple[Any, ...], bindings: Bindings, depth: int) -> Codec:
        members = list(dict.fromkeys(unwrapped(arg, bindings) for arg in args))
        if Any in members or object in members:
            return JsonCodec()
        names = [name_of(member, bindings) for member in members]
        ambiguous = {name for name, count in Counter(names).items() if count > 1}
        names = [
            f"{member.__module__}.{member.__qualname__}" if name in ambiguous else name
            for member, name in zip(members, names, strict=True)
        ]
        if len(set(names)) < len(names):
            raise UnsupportedAnnotation(f"Two members of {' | '.join(names)} have the same name.")
        return UnionCodec([self.compile(m, bindings, depth + 1) for m in members], names)

    def _literal(self, constants: tuple[Any, ...], depth: int) -> Codec:
        kinds = map(type_of, constants)
        return LiteralCodec(constants, tuple(self.compile(kind, {}, depth + 1) for kind in kinds))

    def _collection(
        self, kind: type, args: tuple[Any, ...], bindings: Bindings, depth: int
    ) -> Codec:
        if any(getattr(arg, "__unpacked__", False) for arg in args):
            raise UnsupportedAnnotation(f"A tuple that contains {args[-1]!r} cannot be recorded.")
        inner = [self.compile(arg, bindings, depth + 1) for arg in args if arg is not ...]
        if kind is tuple and args and args[-1] is not ...:
            return TupleCodec(inner)
        if kind is tuple and not args:
            return ListCodec(tuple, JsonCodec())
        if kind is dict:
            key, value = inner or (SCALARS[str], JsonCodec())
            return DictCodec(key, value)
        return ListCodec(kind, inner[0] if inner else JsonCodec())

    def _class(self, kind: Any, args: tuple[Any, ...], bindings: Bindings, depth: int) -> Codec:
        if issubclass(kind, Enum):
            return EnumCodec(kind)
        if issubclass(kind, PurePath):
            return PathCodec(kind)
        if is_model(kind):
            return PydanticCodec(kind, kind.__name__)
        hints = hints_of(kind)
        fields = fields_of(kind, hints_of(kind, with_markers=True))
        if fields is None:
            raise UnsupportedAnnotation(f"Values of {kind.__qualname__} cannot be recorded.")
        _refuse_init_only(kind, hints)
        inner = {**bindings_of(kind, args, bindings), SELF: kind}
        alias = kind[tuple(unwrapped(arg, bindings) for arg in args)] if args else kind
        return self._record(alias, kind, hints, fields, inner, depth)

    def _record(
        self,
        alias: Any,
        kind: Any,
        hints: Mapping[str, Any],
        fields: list[FieldSpec],
        bindings: Bindings,
        depth: int,
    ) -> Codec:
        if alias in self._records:
            return self._records[alias]
        name = name_of(alias, {})
        record = TypedDictCodec(name) if typing.is_typeddict(kind) else ClassCodec(kind, name)
        self._records[alias] = record
        record.complete(
            [
                FieldCodec(field, self.compile(hints.get(field.name, Any), bindings, depth + 1))
                for field in fields
            ]
        )
        return record


@functools.lru_cache(maxsize=CODECS_MAX)
def _compiled(annotation: Any) -> Codec:
    return _Compiler().compile(annotation, {}, 0)


def _default(variable: typing.TypeVar) -> Any:
    if variable.__constraints__:
        return typing.Union[variable.__constraints__]  # noqa: UP007 - built from a tuple
    return Any if variable.__bound__ is None else variable.__bound__


def _refuse_init_only(kind: Any, hints: Mapping[str, Any]) -> None:
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar) and not hasattr(kind, name):
            raise UnsupportedAnnotation(
                f"{kind.__qualname__}.{name} is an InitVar without a default, which is not stored."
            )
