"""Functions with their arguments bound, as the decorators of operations return them."""

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
    """A function with all arguments bound but those that the operation passes."""

    func: Callable[Q, T]
    _original_name: str

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        return self.func(*args, **kwargs)


def named(name: str | None, func: object) -> str | None:
    """Return `name`, or that of a decorated function where the caller gives none."""
    return original_name(func) if name is None else name


def original_name(func: object) -> str | None:
    """Return the name of a decorated function; None for plain functions and lambdas."""
    return getattr(func, "_original_name", None)


def is_coroutine_function(func: Any) -> bool:
    """Return whether the body of an operation must be awaited."""
    return inspect.iscoroutinefunction(func.func if isinstance(func, Bound) else func)


def matching_kind(func: Any, body: F) -> F:
    """Return `body`, which calls `func`; a coroutine function if `func` is one."""
    if not is_coroutine_function(func):
        return with_annotations_of(func, body)

    async def awaiting(*args: Any) -> Any:
        return await body(*args)

    return cast("F", with_annotations_of(func, awaiting))


def with_annotations_of(func: Any, body: F) -> F:
    """Return `body`, made to carry the annotations of `func`."""
    body.__wrapped__ = func  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    return body


def refuse_coroutine_function(func: Any) -> None:
    """Raise `ValidationError` for a function that would return a coroutine."""
    if is_coroutine_function(func):
        name = original_name(func) or getattr(func, "__name__", func)
        raise ValidationError(
            f"{name!r} is a coroutine function, but the handler is synchronous. Use a regular"
            " function, or make the handler async."
        )
