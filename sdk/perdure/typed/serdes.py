"""Typed values: what comes back is what the annotation says, on the first run and on replay.

The text is plain JSON that people can read. A value that its annotation does not describe is
refused when it is written, so that nothing ever comes back as something else. Functions whose
annotations ask for nothing that plain data lacks keep the forms which they have without this.
"""

import json
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from perdure.exceptions import ExecutionError, SerDesError, ValidationError
from perdure.serdes.batch_result import BatchResult
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

__all__ = [
    "TypedSerDes",
    "decode_event",
    "encode_result",
    "serdes_of_batch",
    "serdes_of_result",
]

T = TypeVar("T")


class TypedSerDes(SerDes[Any]):
    """Writes values of `annotation` as readable JSON, and reads them back as just that.

    Without an annotation it does what `ExtendedTypeSerDes` does. Raises `ValidationError` for an
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
            raise SerDesError(f"The value cannot be {verb} as {name}: {mismatch}") from mismatch
        except RecursionError:
            raise SerDesError(f"The value cannot be {verb}: it is nested too deeply.") from None


class ExtendedCodec(Codec):
    """Values without an annotation, in the form of `ExtendedTypeSerDes`."""

    expected = "plain data"
    shapes = EVERY_SHAPE

    def write(self, value: Any) -> Any:
        return extended_form(value)

    def read(self, written: Any) -> Any:
        return extended_value(written)


def serdes_of_result(func: Any) -> SerDes[Any] | None:
    """Return the serdes of what `func` says that it returns; None where plain forms suffice.

    That is, when it says nothing, `Any`, or what comes back by itself: dict, list, int, datetime…
    Decorated, bound and partial functions are looked through.
    """
    function = original(func)
    return _remembered(_result_serdes, function, lambda: _typed_serdes(result_annotation(function)))


def serdes_of_batch(functions: Sequence[Any]) -> SerDes[Any] | None:
    """Return the serdes of a `BatchResult` of these branches, by index, or of one for all items.

    None if all of them return what plain forms suffice for.
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
    """Return an execution's input as what the handler says of its first parameter.

    No text is an empty dict, or None where only that fits. Raises `ExecutionError` if it is not
    JSON, `ValidationError` if it is not what the annotation says.
    """
    event = _event_json(text)
    codec = _handler_codecs(handler).event
    if codec is None:
        return event
    try:
        return codec.read(event)
    except Mismatch as mismatch:
        if not (text or "").strip() and _takes_none(codec):
            return None
        raise ValidationError(
            f"The input of {_name(handler)!r} is not what its annotation says: {mismatch}"
        ) from mismatch


def encode_result(handler: Any, value: Any) -> str:
    """Return the text of what a handler returned, by its annotation; raise `SerDesError`."""
    codec = _handler_codecs(handler).result
    try:
        return json.dumps(value if codec is None else codec.write(value))
    except Mismatch as mismatch:
        raise SerDesError(
            f"The result of {_name(handler)!r} is not what its annotation says: {mismatch}"
        ) from mismatch
    except (TypeError, ValueError, RecursionError) as error:
        wanted = suggested_annotation(value) if codec is None else None
        advice = "" if wanted is None else f". Say what it returns, with `-> {wanted}`."
        raise SerDesError(
            f"The result of {_name(handler)!r} is not JSON: {error}{advice}"
        ) from error


@dataclass(frozen=True)
class HandlerCodecs:
    """What a handler's annotations ask for beyond plain JSON."""

    event: Codec | None
    result: Codec | None


_result_serdes: WeakKeyDictionary[Any, SerDes[Any] | None] = WeakKeyDictionary()
_of_handlers: WeakKeyDictionary[Any, HandlerCodecs] = WeakKeyDictionary()


def _handler_codecs(handler: Any) -> HandlerCodecs:
    function = original(handler)

    def make() -> HandlerCodecs:
        event, result = event_annotation(handler), result_annotation(function)
        return HandlerCodecs(
            event=None if accepts_any_json(event) else _codec(event),
            result=None if is_plain(result, JSON_LEAVES) else _codec(result),
        )

    return _remembered(_of_handlers, function, make)


def _remembered(known: MutableMapping[Any, T], function: Any, make: Callable[[], T]) -> T:
    try:
        return known[function]
    except KeyError:
        made = known[function] = make()
        return made
    except TypeError:  # a builtin: it can be neither remembered nor annotated
        return make()


def _typed_serdes(annotation: Any) -> SerDes[Any] | None:
    if is_plain(annotation, EXTENDED_LEAVES):
        return None
    codec = _codec(annotation)
    return None if codec is None else TypedSerDes(annotation, codec=codec)


def _codec(annotation: Any) -> Codec | None:
    """Return the codec of an annotation, or None: what cannot be typed is plain data, as ever."""
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


def _takes_none(codec: Codec) -> bool:
    try:
        return codec.read(None) is None
    except Mismatch:
        return False


def _name(handler: Any) -> str:
    settings = getattr(handler, "settings", None)
    if isinstance(settings, FunctionSettings):
        return settings.name
    return str(getattr(handler, "__name__", handler))
