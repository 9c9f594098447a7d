"""Annotations of a function, found through its wrappers.

Each annotation is resolved alone: a handler may import the type of its context under
`TYPE_CHECKING` only, and still annotate its result. One that cannot be resolved counts as absent.
"""

import functools
import inspect
import typing
from collections import abc
from typing import Any, Final

from perdure.primitives.bound_function import Bound
from perdure.typed.codecs import type_of

WRAPPINGS_MAX: Final = 100

_AWAITABLE: Final = (abc.Awaitable, abc.Coroutine)


class _Annotated:
    """Holder of one annotation, for `typing.get_type_hints`."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def original(func: Any) -> Any:
    """Return the function inside decorators, bound methods and partial functions."""
    for _ in range(WRAPPINGS_MAX):
        inner = getattr(func, "__wrapped__", None) or getattr(func, "__func__", None)
        if inner is None and _has_func(func):
            inner = func.func
        if inner is None:
            break
        func = inner
    if inspect.isfunction(func) or isinstance(func, type):
        return func
    return getattr(type_of(func), "__call__", func)  # noqa: B004 - for its annotations


def result_annotation(function: Any) -> Any:
    """Return the result annotation of an original function, awaited if needed; Any if none."""
    annotation = _resolved(function, "return")
    if typing.get_origin(annotation) in _AWAITABLE:
        return typing.get_args(annotation)[-1]
    return annotation


def event_annotation(handler: Any) -> Any:
    """Return the annotation of a handler's first parameter; Any if there is none."""
    try:
        parameters = list(inspect.signature(handler).parameters)
    except (TypeError, ValueError):
        return Any
    return _resolved(original(handler), parameters[0]) if parameters else Any


def _has_func(func: Any) -> bool:
    return isinstance(func, (Bound, functools.partial))


def _resolved(function: Any, name: str) -> Any:
    annotations = {} if isinstance(function, type) else getattr(function, "__annotations__", {})
    if name not in annotations:
        return Any
    try:
        hints = typing.get_type_hints(
            _Annotated(annotations[name]),
            globalns=getattr(function, "__globals__", {}),
            localns=_enclosing(function),
        )
        hash(hints["it"])  # `-> [int]` is not an annotation
    except Exception:  # noqa: BLE001 - annotations are user code
        return Any
    return hints["it"]


def _enclosing(function: Any) -> dict[str, Any]:
    """Return the variables of enclosing functions that it uses, and its type parameters."""
    names = {variable.__name__: variable for variable in getattr(function, "__type_params__", ())}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), cells or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return names
