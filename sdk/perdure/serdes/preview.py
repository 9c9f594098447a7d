"""Masked previews of values: selected fields, some of them masked, up to a size.

A field is selected by its name at any depth, or by its path of names, `a.b.c`; lists on the path do
not count. Excluding or masking a field applies to everything below it; including one by path
selects a single field. Rules are those of the AWS Lambda durable execution SDK for Python 3.0
(preview).
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

__all__ = ["FieldMatchMode", "PreviewConfig", "PreviewField", "PreviewMode", "build_preview"]

FieldPath = tuple[str, ...]


class PreviewMode(StrEnum):
    """Default for fields that are not named: shown or hidden."""

    INCLUDE_ALL = "INCLUDE_ALL"
    EXCLUDE_ALL = "EXCLUDE_ALL"


class FieldMatchMode(StrEnum):
    """ANYWHERE: a name at any depth. PATH: names from the top, joined by dots."""

    ANYWHERE = "ANYWHERE"
    PATH = "PATH"


@dataclass(frozen=True)
class PreviewField:
    """Selector of fields."""

    name: str
    match: FieldMatchMode = FieldMatchMode.ANYWHERE

    def ends_at(self, path: FieldPath) -> bool:
        """Return whether the last name of `path` is selected."""
        if self.match is FieldMatchMode.PATH:
            return self.name == ".".join(path)
        return self.name == path[-1]

    def covers(self, path: FieldPath) -> bool:
        """Return whether the field at `path` is selected, by its path or by any name on it."""
        if self.match is FieldMatchMode.PATH:
            return self.name == ".".join(path)
        return self.name in path


@dataclass(frozen=True)
class PreviewConfig:
    """Configuration of a preview: fields to include, exclude and mask, and the size.

    Excluding comes before masking, masking before including. The preview ends before the first
    field that would exceed `max_preview_bytes` of JSON.
    """

    mode: PreviewMode
    include: list[PreviewField] = field(default_factory=list[PreviewField])
    exclude: list[PreviewField] = field(default_factory=list[PreviewField])
    mask: list[PreviewField] = field(default_factory=list[PreviewField])
    mask_string: str = "***"
    max_preview_bytes: int = 4_096


def build_preview(value: Any, config: PreviewConfig) -> dict[str, Any] | None:
    """Return the preview of a dict; None if it is empty, or `value` is not a dict."""
    if not isinstance(value, Mapping):
        return None
    preview: dict[str, Any] = {}
    for path, leaf in _leaves(cast("Mapping[object, Any]", value), (), config):
        more = copy.deepcopy(preview)
        _put(more, path, leaf)
        if len(json.dumps(more)) > config.max_preview_bytes:  # ASCII: characters are bytes
            break
        preview = more
    return preview or None


def _leaves(
    fields: Mapping[object, Any], above: FieldPath, config: PreviewConfig
) -> Iterator[tuple[FieldPath, Any]]:
    for key, value in fields.items():
        path = (*above, str(key))
        if any(named.ends_at(path) for named in config.exclude):
            continue
        if any(named.ends_at(path) for named in config.mask):
            yield path, config.mask_string
        elif below := _mappings(value):
            for mapping in below:
                yield from _leaves(mapping, path, config)
        elif config.mode is PreviewMode.INCLUDE_ALL or _is_included(path, config.include):
            yield path, _plain(value)


def _mappings(value: Any) -> list[Mapping[object, Any]]:
    """Return the dicts that hold the fields below `value`."""
    items: Iterable[Any] = cast("Any", value) if isinstance(value, list | tuple) else (value,)
    return [cast("Mapping[object, Any]", item) for item in items if isinstance(item, Mapping)]


def _is_included(path: FieldPath, include: list[PreviewField]) -> bool:
    return any(named.covers(path) for named in include)


def _plain(value: Any) -> Any:
    """Return `value` if JSON can hold it, or else its text."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


def _put(preview: dict[str, Any], path: FieldPath, leaf: Any) -> None:
    place = preview
    for name in path[:-1]:
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {}
        place = cast("dict[str, Any]", inner)
    place[path[-1]] = leaf
