"""What functions of users can be called with, checked where they are handed over.

A body that cannot be called would otherwise fail when it runs, and be retried. Must stay cheap: a
function that fits costs a few comparisons, and its signature is built for the refusal alone.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType, MethodType
from typing import Any, Final

from perdure.exceptions import ValidationError

# Marks what a decorator makes of a function, which is called with arguments first.
MAKES: Final = "_perdure_makes"


class Parameters:
    """The parameters of a function behind the `leading` ones, which an operation passes."""

    def __init__(self, func: Callable[..., Any], leading: int) -> None:
        self._func = func
        self._leading = leading
        self._is_simple = False
        if not isinstance(func, FunctionType):
            return
        code = func.__code__
        flags = code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
        self._is_simple = not flags and not code.co_posonlyargcount
        count = code.co_argcount
        self._names = code.co_varnames[leading:count]
        self._required = self._names[: max(len(self._names) - len(func.__defaults__ or ()), 0)]
        keywords = code.co_varnames[count : count + code.co_kwonlyargcount]
        self._keywords = frozenset(keywords)
        self._required_keywords = self._keywords - (func.__kwdefaults__ or {}).keys()

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise `TypeError` where the function cannot be called with these arguments."""
        if self._is_simple and self._fit(args, kwargs):
            return
        signature = self._signature
        if signature is None:  # of a builtin nothing is known
            return
        try:
            signature.bind(*[None] * self._leading, *args, **kwargs)
        except TypeError as error:
            parameters = list(signature.parameters.values())[self._leading :]
            expected = signature.replace(
                parameters=parameters, return_annotation=inspect.Signature.empty
            )
            raise TypeError(
                f"{name_of(self._func)} must be called with {expected}: {error}."
            ) from None

    def _fit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        count = len(args)
        if count > len(self._names):
            return False
        missing = self._required[count:]
        if not kwargs:
            return not missing and not self._required_keywords
        free = self._names[count:]
        return (
            all(name in free or name in self._keywords for name in kwargs)
            and all(name in kwargs for name in missing)
            and kwargs.keys() >= self._required_keywords
        )

    @cached_property
    def _signature(self) -> inspect.Signature | None:
        try:
            return inspect.signature(self._func)
        except (TypeError, ValueError):
            return None


def is_body(func: Any, count: int) -> bool:
    """Return whether a function can be called with so many arguments; True where unknown."""
    if type(func) is MethodType:
        func, count = func.__func__, count + 1
    if type(func) is not FunctionType:
        return callable(func)
    code, defaults = func.__code__, func.__defaults__
    required = code.co_argcount if defaults is None else code.co_argcount - len(defaults)
    if count < required or (count > code.co_argcount and not code.co_flags & CO_VARARGS):
        return False
    return getattr(func, MAKES, None) is None and not (
        code.co_kwonlyargcount and _has_required_keywords(func)
    )


def check_body(func: Any, call: str, passed: tuple[str, ...]) -> None:
    """Raise `ValidationError` for what cannot be the body of an operation.

    `call` names the operation, and `passed` what it calls the body with.
    """
    if not callable(func):
        raise ValidationError(
            f"{call}() must be given a function, got {type(func).__name__}. Pass the function"
            " itself, or what a decorated one returns."
        )
    maker = getattr(func, MAKES, None)
    if maker is not None:
        name = name_of(func)
        raise ValidationError(
            f"{name} is decorated with @{maker}: call it before it is passed."
            f" Write {call}({name}(…))."
        )
    if not is_body(func, len(passed)):
        raise ValidationError(
            f"{call}() calls the function with ({', '.join(passed)}), but {name_of(func)} takes"
            f" {inspect.signature(func)}. Change its parameters, or pass a lambda."
        )


def name_of(func: Any) -> str:
    """Return a function as messages show it."""
    return str(getattr(func, "__name__", None) or type(func).__name__)


def _has_required_keywords(func: FunctionType) -> bool:
    code = func.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return any(name not in (func.__kwdefaults__ or {}) for name in names)
