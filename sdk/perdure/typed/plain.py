"""Annotations that need no codec, since their values are read back unchanged without one.

Results of such functions are written in the plain format, so that their records stay as they are,
and can be exchanged with those of other SDKs.
"""

import typing
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from perdure.serdes.batch_result import BatchResult
from perdure.typed.annotations import CONCRETE, UnsupportedAnnotation, hints_of, is_union, unwrapped

ANYTHING: Final = frozenset({Any, object})
JSON_LEAVES: Final = frozenset({None, type(None), str, bool, int, float})
EXTENDED_LEAVES: Final = JSON_LEAVES | {bytes, UUID, Decimal, datetime, date}

_CONSTANTS: Final = (str, bool, int, type(None))


def accepts_any_json(annotation: Any) -> bool:
    """Return whether any JSON is accepted: `dict`, `dict[str, Any]`, `Any`, `object`."""
    annotation = unwrapped(annotation, {})
    if annotation in ANYTHING:
        return True
    kind = CONCRETE.get(typing.get_origin(annotation) or annotation)
    args = typing.get_args(annotation)
    return kind is dict and (not args or (args[0] in (str, Any) and args[1] in ANYTHING))


def is_plain(annotation: Any, leaves: frozenset[Any]) -> bool:
    """Return whether values of this annotation, made of these `leaves`, need no codec."""
    return _is_plain(annotation, leaves, ())


def _is_plain(annotation: Any, leaves: frozenset[Any], within: tuple[Any, ...]) -> bool:
    annotation = unwrapped(annotation, {})
    origin = typing.get_origin(annotation) or annotation
    args = typing.get_args(annotation)
    if annotation in ANYTHING or annotation in leaves or annotation in within or annotation is ...:
        return True
    if origin is Literal:
        return all(type(constant) in _CONSTANTS for constant in args)
    if is_union(annotation) or (origin is BatchResult and UUID in leaves):
        return all(_is_plain(arg, leaves, within) for arg in args)
    if CONCRETE.get(origin) in (list, tuple, dict):
        keys_come_back = CONCRETE[origin] is not dict or not args or args[0] in (str, Any)
        return keys_come_back and all(_is_plain(arg, leaves, within) for arg in args)
    if typing.is_typeddict(origin):
        return _all_plain(origin, leaves, (*within, annotation))
    return False


def _all_plain(kind: Any, leaves: frozenset[Any], within: tuple[Any, ...]) -> bool:
    try:
        hints: Mapping[str, Any] = hints_of(kind)
    except UnsupportedAnnotation:
        return True
    return all(_is_plain(hint, leaves, within) for hint in hints.values())
