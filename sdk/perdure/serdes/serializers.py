"""Serializers, which turn values into recorded text and back.

The wire format of `ExtendedTypeSerDes` is that of the AWS Lambda durable execution SDK for Python
3.0 (serdes), so each can read what the other wrote: JSON primitives, and lists of only these, are
compact JSON; every other value is an envelope `{"t": tag, "v": value}`, whose inner values are
envelopes too.
"""

import base64
import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

import msgspec

from perdure.exceptions import ExecutionError, InvocationError, SerDesError
from perdure.serdes.batch_result import BatchResult
from perdure.serdes.mistakes import mistake_in
from perdure_core.json_text import json_text

__all__ = ["ExtendedTypeSerDes", "JsonSerDes", "PassThroughSerDes", "SerDes", "SerDesContext"]

T = TypeVar("T")

# json.dumps creates an encoder on every call with other than default options.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class SerDesContext:
    """The operation and the execution that a value belongs to."""

    operation_id: str = ""
    durable_execution_arn: str = ""


class SerDes(ABC, Generic[T]):
    """Writes and reads the values of one operation.

    Raise `SerDesError` for what can never work (the operation fails, without retries) and
    `RetryableSerDesError` for what may work later (the whole invocation is retried). Any other
    exception counts as `SerDesError`. A `serialize` that returns None records nothing: the value is
    None then, and `deserialize` is not called.
    """

    @abstractmethod
    def serialize(self, value: T, serdes_context: SerDesContext) -> str:
        """Return `value` as text."""

    @abstractmethod
    def deserialize(self, data: str, serdes_context: SerDesContext) -> T:
        """Return the value that `data` was written from."""


class PassThroughSerDes(SerDes[Any]):
    """Writes and reads text unchanged."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        del serdes_context
        return cast("str", value)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        del serdes_context
        return data


class JsonSerDes(SerDes[Any]):
    """Plain JSON: tuples are read as lists, keys as strings.

    Keys that would collide, NaN and infinities, and halves of surrogate pairs are refused.
    """

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        del serdes_context
        return json_text(value)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        del serdes_context
        return json.loads(data)


class ExtendedTypeSerDes(SerDes[Any]):
    """JSON plus bytes, UUID, Decimal, datetime, date, tuple, `BatchResult`, lists and dicts.

    Keys of dicts become strings, as in JSON; tuples, and keys that would collide, are refused.
    """

    def serialize(self, value: Any, serdes_context: SerDesContext | None = None) -> str:
        del serdes_context
        return _encode(extended_form(value))

    def deserialize(self, data: str, serdes_context: SerDesContext | None = None) -> Any:
        del serdes_context
        try:
            value = json.loads(data)
        except ValueError as error:
            raise SerDesError(f"The recorded text is not JSON: {error}") from error
        return extended_value(value)


def extended_form(value: Any) -> Any:
    """Return what `ExtendedTypeSerDes` writes for `value`, before encoding it as text."""
    return value if _is_plain(value) else _wrap(value)


def extended_value(written: Any) -> Any:
    """Return the value that `extended_form` wrote."""
    return written if _is_plain(written) else _unwrap(written)


def suggested_annotation(value: object) -> str | None:
    """Return the annotation that would allow a value to be recorded, if there is one."""
    kind = type(value)
    if isinstance(value, (set, frozenset)):
        items = {type(item).__qualname__ for item in cast("set[object]", value)} or {"str"}
        return f"{kind.__name__}[{' | '.join(sorted(items))}]"
    fields = ("__attrs_attrs__", "__struct_fields__", "__pydantic_validator__")
    if isinstance(value, Enum) or dataclasses.is_dataclass(value):
        return kind.__qualname__
    return kind.__qualname__ if any(hasattr(kind, name) for name in fields) else None


class Payloads(msgspec.Struct, frozen=True):
    """Writes and reads the values of one operation; failures are either permanent or transient."""

    serdes: SerDes[Any]
    context: SerDesContext

    def write(self, value: Any) -> str | None:
        """Return the text of `value`; None where the serdes returns None."""
        try:
            text = self._guarded("write", lambda: self.serdes.serialize(value, self.context))
        except SerDesError as error:
            mistake = mistake_in(value, batches=isinstance(self.serdes, JsonSerDes))
            if mistake is None or type(error) is not SerDesError:
                raise
            raise SerDesError(f"The value cannot be recorded: {mistake}") from error
        if text is None:
            return None
        if not isinstance(text, str):
            mistake = mistake_in(value)
            raise SerDesError(
                f"{type(self.serdes).__name__} must return str, got {type(text).__name__}."
                if mistake is None
                else f"The value cannot be recorded: {mistake}"
            )
        if not text.isascii():
            self._guarded("write", text.encode)  # half of a surrogate pair cannot be sent
        return text

    def read(self, text: str | None) -> Any:
        """Return the value of `text`; None where nothing is recorded."""
        if text is None:
            return None
        return self._guarded("read", lambda: self.serdes.deserialize(text, self.context))

    def rebuild(self, value: Any) -> Any:
        """Return what comes back of `value`, which was written before and may be written no more.

        Earlier releases wrote what `JsonSerDes` refuses: it comes back as it did then.
        """
        if type(self.serdes) is JsonSerDes:
            return self._guarded("read", lambda: json.loads(json.dumps(value)))
        return self.read(self.write(value))

    def _guarded(self, verb: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (SerDesError, ExecutionError, InvocationError):
            raise
        except Exception as error:
            name = type(self.serdes).__name__
            raise SerDesError(f"{name} cannot {verb} the value: {error}") from error


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in cast("list[object]", value))
    return value is None or isinstance(value, (str, int, float))  # bool is an int


def _wrap(value: Any) -> dict[str, Any]:
    for tag, kind, write in _WRITERS:
        if isinstance(value, kind):
            return {"t": tag, "v": write(value)}
    annotation = suggested_annotation(value)
    name = type(value).__qualname__
    if annotation is None:
        raise SerDesError(f"{name} cannot be recorded. Return plain data, or pass a serdes.")
    raise SerDesError(
        f"{name} cannot be recorded without an annotation. Annotate the function's return value"
        f" with `-> {annotation}` or a type that contains it, or pass TypedSerDes({annotation}) as"
        " serdes."
    )


def _wrap_items(items: "list[Any] | tuple[Any, ...]") -> list[Any]:
    return [_wrap(item) for item in items]


def _wrap_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if any(isinstance(key, tuple) for key in value):
        raise SerDesError("Tuples cannot be recorded as keys of a dict.")
    wrapped = {_key_text(key): _wrap(item) for key, item in value.items()}
    if len(wrapped) != len(value):
        raise SerDesError("Two keys of a dict have the same text.")
    return wrapped


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    raise SerDesError(f"{type(key).__qualname__} cannot be recorded as a key of a dict.")


def _unwrap(value: object) -> Any:
    if not isinstance(value, dict) or not {"t", "v"} <= cast("dict[str, Any]", value).keys():
        raise SerDesError('The recorded value is not an envelope: "t" or "v" is missing.')
    tag, inner = cast("dict[str, Any]", value)["t"], cast("dict[str, Any]", value)["v"]
    reader = _READERS.get(tag) if isinstance(tag, str) else None
    if reader is None:
        raise SerDesError(f"The recorded value has the unknown tag {tag!r}.")
    try:
        return reader(inner)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise SerDesError(f"The recorded value does not fit its tag {tag!r}: {error}") from error


def _read_list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise TypeError(f"expected a list, got {type(items).__name__}")
    return [_unwrap(item) for item in cast("list[object]", items)]


def _read_dict(items: Any) -> dict[str, Any]:
    if not isinstance(items, dict):
        raise TypeError(f"expected a dict, got {type(items).__name__}")
    return {key: _unwrap(item) for key, item in cast("dict[str, Any]", items).items()}


def _as_is(value: Any) -> Any:
    return value


def _write_bytes(value: "bytes | bytearray | memoryview") -> str:
    return base64.b64encode(bytes(value)).decode("ascii")


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# The first match counts: bool before int, datetime before date.
_WRITERS: tuple[tuple[str, type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ("n", type(None), _as_is),
    ("s", str, _as_is),
    ("b", bool, _as_is),
    ("i", int, _as_is),
    ("f", float, _as_is),
    ("B", (bytes, bytearray, memoryview), _write_bytes),
    ("u", UUID, str),
    ("d", Decimal, str),
    ("dt", datetime, datetime.isoformat),
    ("D", date, date.isoformat),
    ("br", BatchResult, lambda result: _wrap_dict(result.to_dict())),
    ("t", tuple, _wrap_items),
    ("l", list, _wrap_items),
    ("m", dict, _wrap_dict),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "n": _as_is,
    "s": _as_is,
    "b": _as_is,
    "i": _as_is,
    "f": _as_is,
    "B": _read_bytes,
    "u": UUID,
    "d": Decimal,
    "dt": datetime.fromisoformat,
    "D": date.fromisoformat,
    "br": lambda fields: BatchResult[Any].from_dict(_read_dict(fields)),
    "t": lambda items: tuple(_read_list(items)),
    "l": _read_list,
    "m": _read_dict,
}
