"""Codecs of containers (lists, sets, tuples, dicts) and of unions.

A union is written without tags where the JSON of its members is distinguishable. Otherwise it is
`{"$type": name, "$value": value}`, by the name of the member. JSON without a tag, such as an event
written by hand, is read if exactly one member accepts it.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

from perdure.typed.codecs import (
    ARRAY,
    OBJECT,
    TEXT,
    Codec,
    Mismatch,
    describe,
    json_shape,
    json_text,
    type_of,
)

TYPE_KEY: Final = "$type"
VALUE_KEY: Final = "$value"


class ListCodec(Codec):
    """A list, set or frozenset of one kind of item; sets are written in a fixed order."""

    shapes = frozenset({ARRAY})

    def __init__(self, kind: type, item: Codec) -> None:
        self.kind = kind
        self.expected = f"{kind.__name__} of {item.expected}"
        self._name = kind.__name__
        self._make = cast("Callable[[list[Any]], Any]", kind)
        self._ordered = kind is list or kind is tuple
        self._item = item

    def write(self, value: Any) -> Any:
        if type_of(value) is not self.kind:
            raise Mismatch(self._name, describe(value))
        written = _each(self._item.write, value)
        return written if self._ordered else sorted(written, key=json_text)

    def read(self, written: Any) -> Any:
        if type_of(written) is not list:
            raise Mismatch(self._name, describe(written))
        items = _each(self._item.read, written)
        try:
            return self._make(items)
        except TypeError as error:  # items of a set must be hashable
            raise Mismatch(self.expected, str(error)) from None


class TupleCodec(Codec):
    """A tuple of a fixed length."""

    shapes = frozenset({ARRAY})
    kind = tuple

    def __init__(self, items: Sequence[Codec]) -> None:
        self.expected = f"tuple of {len(items)}"
        self._items = items

    def write(self, value: Any) -> Any:
        return self._zip(value, tuple, [item.write for item in self._items])

    def read(self, written: Any) -> Any:
        return tuple(self._zip(written, list, [item.read for item in self._items]))

    def _zip(self, value: Any, kind: type, actions: list[Callable[[Any], Any]]) -> list[Any]:
        if type_of(value) is not kind:
            raise self.refuse(value)
        if len(value) != len(actions):
            raise Mismatch(self.expected, f"{len(value)} items")
        pairs = zip(actions, value, strict=True)
        return [_at(f"[{i}]", action, item) for i, (action, item) in enumerate(pairs)]


class DictCodec(Codec):
    """A dict. Keys that are not written as text are written as JSON text: `{"1": …}`."""

    shapes = frozenset({OBJECT})
    kind = dict

    def __init__(self, key: Codec, value: Codec) -> None:
        self.expected = f"dict of {key.expected} to {value.expected}"
        self._key = key
        self._value = value
        self._text_keys = key.shapes == frozenset({TEXT})

    def write(self, value: Any) -> Any:
        entries = _dict(value)
        return {
            _at(f"[key {key!r}]", self._write_key, key): _at(f"[{key!r}]", self._value.write, item)
            for key, item in entries.items()
        }

    def read(self, written: Any) -> Any:
        entries = _dict(written)
        return {
            _at(f"[key {key!r}]", self._read_key, key): _at(f"[{key!r}]", self._value.read, item)
            for key, item in entries.items()
        }

    def _write_key(self, key: Any) -> str:
        written = self._key.write(key)
        return written if self._text_keys else json.dumps(written)

    def _read_key(self, text: str) -> Any:
        if self._text_keys:
            return self._key.read(text)
        try:
            key = self._key.read(json.loads(text))
            hash(key)
        except (ValueError, TypeError):
            raise self._key.refuse(text) from None
        return key


class UnionCodec(Codec):
    """One of several types: a value is written by the member of its type, or the first match."""

    def __init__(self, members: Sequence[Codec], names: Sequence[str]) -> None:
        self.expected = " | ".join(names)
        self.shapes = frozenset(itertools.chain.from_iterable(m.shapes for m in members))
        self.tagged = any(not _apart(a, b) for a, b in itertools.combinations(members, 2))
        if self.tagged:
            self.shapes = frozenset({OBJECT})
        self._members = list(zip(names, members, strict=True))
        self._by_name = dict(self._members)

    def write(self, value: Any) -> Any:
        kind = type_of(value)
        exact = [pair for pair in self._members if pair[1].kind is kind]
        name, written = self._first(exact or self._members, value)
        return {TYPE_KEY: name, VALUE_KEY: written} if self.tagged else written

    def read(self, written: Any) -> Any:
        if self.tagged and is_tagged(written):
            member = self._by_name.get(written[TYPE_KEY])
            if member is None:
                raise Mismatch(self.expected, f"the tag {written[TYPE_KEY]!r}")
            return member.read(written[VALUE_KEY])
        shape = json_shape(written)
        candidates = [pair for pair in self._members if shape in pair[1].shapes] or self._members
        candidates = [
            pair for pair in candidates if not _contradicts(pair[1], written)
        ] or candidates
        return self._only(candidates, written)

    def _first(self, members: list[tuple[str, Codec]], value: Any) -> tuple[str, Any]:
        for name, member in members:
            try:
                return name, member.write(value)
            except Mismatch:
                if len(members) == 1:  # its message tells where it does not match
                    raise
        raise self.refuse(value)

    def _only(self, members: list[tuple[str, Codec]], written: Any) -> Any:
        found: list[tuple[str, Any]] = []
        for name, member in members:
            try:
                found.append((name, member.read(written)))
            except Mismatch:
                if len(members) == 1:
                    raise
        if not found:
            raise self.refuse(written)
        if len(found) > 1:
            names = " and ".join(name for name, _ in found)
            raise Mismatch(
                f"{self.expected}, with {TYPE_KEY} and {VALUE_KEY}",
                f"{describe(written)} without them, which may be {names}",
            )
        return found[0][1]


def is_tagged(written: Any) -> bool:
    """Return whether this is the written form of a union with tags."""
    return (
        isinstance(written, dict)
        and cast("dict[str, Any]", written).keys() == {TYPE_KEY, VALUE_KEY}
        and isinstance(written[TYPE_KEY], str)
    )


def _apart(one: Codec, other: Codec) -> bool:
    if not one.shapes & other.shapes:
        return True
    if one.shapes | other.shapes != frozenset({OBJECT}):
        return False
    shared = one.constants.keys() & other.constants.keys()
    return any(not one.constants[name] & other.constants[name] for name in shared)


def _contradicts(member: Codec, written: Any) -> bool:
    """Return whether a field shows that this is another member of the union."""
    return type_of(written) is dict and any(
        name in written and all(written[name] != value for value in values)
        for name, values in member.constants.items()
    )


def _dict(value: Any) -> dict[Any, Any]:
    if type_of(value) is not dict:
        raise Mismatch("dict", describe(value))
    return cast("dict[Any, Any]", value)


def _each(action: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return [_at(f"[{index}]", action, item) for index, item in enumerate(items)]


def _at(part: str, action: Callable[[Any], Any], value: Any) -> Any:
    try:
        return action(value)
    except Mismatch as mismatch:
        raise mismatch.at(part) from None
