"""A function with its arguments bound."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast

from perdure.exceptions import ValidationError

Q = ParamSpec("Q")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Bound(Generic[Q, T]):
    """A function with all its arguments but those that the operation gives it."""

    func: Callable[Q, T]
    _original_name: str

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        return self.func(*args, **kwargs)


def original_name(func: object) -> str | None:
    """Return the name of a decorated function; plain functions and lambdas name nothing."""
    return getattr(func, "_original_name", None)


def is_coroutine_function(func: Any) -> bool:
    """Tell whether the body of an operation has to be awaited."""
    return inspect.iscoroutinefunction(func.func if isinstance(func, Bound) else func)


def matching_kind(func: Any, body: F) -> F:
    """Return `body`, which calls `func`; a coroutine function if `func` is one."""
    if not is_coroutine_function(func):
        return with_annotations_of(func, body)

    async def awaiting(*args: Any) -> Any:
        return await body(*args)

    return cast("F", with_annotations_of(func, awaiting))


def with_annotations_of(func: Any, body: F) -> F:
    """Return `body`, by which the annotations of `func` are found."""
    body.__wrapped__ = func  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    return body


def refuse_coroutine_function(func: Any) -> None:
    """Raise `ValidationError` for what would only return a coroutine."""
    if is_coroutine_function(func):
        name = original_name(func) or getattr(func, "__name__", func)
        raise ValidationError(
            f"{name!r} is a coroutine function; the body of an operation is an ordinary function, "
            "unless the handler is an async one."
        )
