"""Serializer of typed values: what is read back has the annotated type, also on replay.

The text is readable JSON. A value that does not match its annotation is refused when it is written,
so that no value is read back as another type. Functions whose annotations need nothing beyond plain
data keep the plain format.
"""

import json
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from perdure.exceptions import ExecutionError, SerDesError, ValidationError
from perdure.serdes.batch_result import BatchResult
from perdure.serdes.mistakes import mistake_in
from perdure.serdes.serializers import (
    SerDes,
    SerDesContext,
    extended_form,
    extended_value,
    suggested_annotation,
)
from perdure.settings.functions import FunctionSettings
from perdure.typed.annotations import UnsupportedAnnotation, codec_of, name_of, unwrapped
from perdure.typed.batch import BatchResultCodec
from perdure.typed.codecs import EVERY_SHAPE, Codec, Mismatch
from perdure.typed.hints import event_annotation, original, result_annotation
from perdure.typed.plain import ANYTHING, EXTENDED_LEAVES, JSON_LEAVES, accepts_any_json, is_plain
from perdure_core.json_text import json_text

__all__ = [
    "TypedSerDes",
    "decode_event",
    "encode_result",
    "serdes_of_batch",
    "serdes_of_result",
]

T = TypeVar("T")


class TypedSerDes(SerDes[Any]):
    """Writes values of `annotation` as readable JSON, and reads them back as that type.

    Without an annotation it is equal to `ExtendedTypeSerDes`. Raises `ValidationError` for an
    annotation whose values cannot be recorded.
    """

    def __init__(self, annotation: Any = Any, *, codec: Codec | None = None) -> None:
        self.annotation = annotation
        self.codec = _required_codec(annotation) if codec is None else codec

    def serialize(self, value: Any, serdes_context: SerDesContext | None = None) -> str:
        del serdes_context
        return json.dumps(self._guarded("written", self.codec.write, value), separators=(",", ":"))

    def deserialize(self, data: str, serdes_context: SerDesContext | None = None) -> Any:
        del serdes_context
        return self._guarded("read", self.codec.read, _json(data))

    def __repr__(self) -> str:
        return f"TypedSerDes({name_of(self.annotation, {})})"

    def _guarded(self, verb: str, action: Callable[[Any], Any], value: Any) -> Any:
        try:
            return action(value)
        except Mismatch as mismatch:
            name = name_of(self.annotation, {})
            raise SerDesError(f"Value cannot be {verb} as {name}: {mismatch}") from mismatch
        except RecursionError:
            raise SerDesError(f"Value cannot be {verb}: it is nested too deeply.") from None


class ExtendedCodec(Codec):
    """Values without an annotation, in the format of `ExtendedTypeSerDes`."""

    expected = "plain data"
    shapes = EVERY_SHAPE

    def write(self, value: Any) -> Any:
        return extended_form(value)

    def read(self, written: Any) -> Any:
        return extended_value(written)


def serdes_of_result(func: Any) -> SerDes[Any] | None:
    """Return the serdes for the annotated result of `func`; None where plain data suffices.

    That is, without an annotation, and for `Any`, dict, list, int, datetime and the like.
    Decorated, bound and partial functions are unwrapped.
    """
    function = original(func)
    if type(function) is FunctionType and "return" not in function.__annotations__:
        return None  # as most lambdas, each of which is another key of the cache
    return _cached(_result_serdes, function, lambda: _typed_serdes(result_annotation(function)))


def serdes_of_batch(functions: Sequence[Any]) -> SerDes[Any] | None:
    """Return the serdes of a `BatchResult` of these branches, by index, or of one for all items.

    None if plain data suffices for all of them.
    """
    found = [serdes_of_result(function) for function in functions]
    if not any(found):
        return None
    if found.count(found[0]) == len(found):  # of a map: one function for all items
        found = found[:1]
    codecs = [
        serdes.codec if isinstance(serdes, TypedSerDes) else ExtendedCodec() for serdes in found
    ]
    return TypedSerDes(BatchResult, codec=BatchResultCodec(*codecs))


def decode_event(handler: Any, text: str | None) -> Any:
    """Return an execution's input as the annotated type of the handler's first parameter.

    An absent input is an empty dict, or None where only that matches. Raises `ExecutionError` if it
    is not JSON, `ValidationError` if it does not match the annotation.
    """
    event = _event_json(text)
    codec = _handler_codecs(handler).event
    if codec is None:
        return event
    try:
        return codec.read(event)
    except Mismatch as mismatch:
        if not (text or "").strip() and _accepts_none(codec):
            return None
        raise ValidationError(
            f"The input of {_name(handler)!r} does not match its annotation: {mismatch}"
        ) from mismatch


def encode_result(handler: Any, value: Any) -> str:
    """Return the text of a handler's result, by its annotation; raise `SerDesError`."""
    codec = _handler_codecs(handler).result
    try:
        return json_text(value if codec is None else codec.write(value))
    except Mismatch as mismatch:
        raise SerDesError(
            f"The result of {_name(handler)!r} does not match its annotation:"
            f" {mistake_in(value) or mismatch}"
        ) from mismatch
    except (TypeError, ValueError, RecursionError) as error:
        mistake = mistake_in(value)
        if mistake is not None:
            raise SerDesError(
                f"The result of {_name(handler)!r} cannot be recorded: {mistake}"
            ) from error
        annotation = suggested_annotation(value) if codec is None else None
        advice = "" if annotation is None else f". Annotate its result with `-> {annotation}`."
        raise SerDesError(
            f"The result of {_name(handler)!r} is not JSON: {error}{advice}"
        ) from error


@dataclass(frozen=True)
class HandlerCodecs:
    """Codecs of a handler's input and result; None where plain JSON suffices."""

    event: Codec | None
    result: Codec | None


_result_serdes: WeakKeyDictionary[Any, SerDes[Any] | None] = WeakKeyDictionary()
_handler_codecs_cache: WeakKeyDictionary[Any, HandlerCodecs] = WeakKeyDictionary()


def _handler_codecs(handler: Any) -> HandlerCodecs:
    function = original(handler)

    def compiled() -> HandlerCodecs:
        event, result = event_annotation(handler), result_annotation(function)
        return HandlerCodecs(
            event=None if accepts_any_json(event) else _codec(event),
            result=None if is_plain(result, JSON_LEAVES) else _codec(result),
        )

    return _cached(_handler_codecs_cache, function, compiled)


def _cached(cache: MutableMapping[Any, T], function: Any, compute: Callable[[], T]) -> T:
    try:
        return cache[function]
    except KeyError:
        value = cache[function] = compute()
        return value
    except TypeError:  # a builtin: it can be neither cached nor annotated
        return compute()


def _typed_serdes(annotation: Any) -> SerDes[Any] | None:
    if is_plain(annotation, EXTENDED_LEAVES):
        return None
    codec = _codec(annotation)
    return None if codec is None else TypedSerDes(annotation, codec=codec)


def _codec(annotation: Any) -> Codec | None:
    """Return the codec of an annotation; None for one without a codec, which is plain data."""
    try:
        return codec_of(annotation)
    except UnsupportedAnnotation:
        return None


def _required_codec(annotation: Any) -> Codec:
    if unwrapped(annotation, {}) in ANYTHING:
        return ExtendedCodec()
    try:
        return codec_of(annotation)
    except UnsupportedAnnotation as error:
        raise ValidationError(str(error)) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SerDesError(f"The recorded text is not JSON: {error}") from error


def _event_json(text: str | None) -> Any:
    if text is None or not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError as error:
        raise ExecutionError(f"The input of the execution is not JSON: {error}") from error


def _accepts_none(codec: Codec) -> bool:
    try:
        return codec.read(None) is None
    except Mismatch:
        return False


def _name(handler: Any) -> str:
    settings = getattr(handler, "settings", None)
    if isinstance(settings, FunctionSettings):
        return settings.name
    return str(getattr(handler, "__name__", handler))
