"""Functions with their arguments bound, which is how operations take them.

Each decorator turns `f(ctx, *args)` into `f(*args) -> callable(ctx)` and remembers the name of `f`,
which names the operation. What is made of a coroutine function fits async handlers only.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from perdure.config import ParallelBranch
from perdure.exceptions import ValidationError
from perdure.types import StepContext, WaitForCallbackContext

if TYPE_CHECKING:
    from perdure.async_context import AsyncDurableContext
    from perdure.context import DurableContext

P = ParamSpec("P")
Q = ParamSpec("Q")
C = TypeVar("C", "DurableContext", "AsyncDurableContext")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Bound(Generic[Q, T]):
    """A function with all its arguments but those that the operation gives it."""

    func: Callable[Q, T]
    _original_name: str

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        return self.func(*args, **kwargs)


def durable_step(
    func: Callable[Concatenate[StepContext, P], T],
) -> Callable[P, Callable[[StepContext], T]]:
    """Make a step of `func(step_context, *args)`: given its arguments, it fits `context.step`.

    The step is named after the function.
    """

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[StepContext], T]:
        def body(step_context: StepContext) -> T:
            return func(step_context, *args, **kwargs)

        return Bound(like(func, body), func.__name__)

    return bind


def durable_with_child_context(
    func: Callable[Concatenate[C, P], T],
) -> Callable[P, Callable[[C], T]]:
    """Make `func(context, *args)` fit `context.run_in_child_context`, given its arguments.

    The context is named after the function.
    """

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[C], T]:
        def body(context: C) -> T:
            return func(context, *args, **kwargs)

        return Bound(like(func, body), func.__name__)

    return bind


def durable_wait_for_callback(
    func: Callable[Concatenate[str, WaitForCallbackContext, P], T],
) -> Callable[P, Callable[[str, WaitForCallbackContext], T]]:
    """Make `func(callback_id, context, *args)` fit `context.wait_for_callback`.

    Given its arguments, as the others. The operation is named after the function.
    """

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[str, WaitForCallbackContext], T]:
        def submit(callback_id: str, context: WaitForCallbackContext) -> T:
            return func(callback_id, context, *args, **kwargs)

        return Bound(like(func, submit), func.__name__)

    return bind


def durable_parallel_branch(
    name: str | None = None,
) -> Callable[[Callable[Concatenate[C, P], T]], Callable[P, ParallelBranch[T]]]:
    """Make branches of `func(context, *args)`: given its arguments, it fits `context.parallel`.

    Called with a name, or with none: the branch then gets its default one.
    """

    def decorate(
        func: Callable[Concatenate[C, P], T],
    ) -> Callable[P, ParallelBranch[T]]:
        @functools.wraps(func)
        def bind(*args: P.args, **kwargs: P.kwargs) -> ParallelBranch[T]:
            def body(context: C) -> T:
                return func(context, *args, **kwargs)

            return ParallelBranch(cast("Callable[[Any], T]", like(func, body)), name)

        return bind

    return decorate


def original_name(func: object) -> str | None:
    """Return the name of a decorated function; plain functions and lambdas name nothing."""
    return getattr(func, "_original_name", None)


def is_coroutine_function(func: Any) -> bool:
    """Tell whether the body of an operation has to be awaited."""
    return inspect.iscoroutinefunction(func.func if isinstance(func, Bound) else func)


def like(func: Any, body: F) -> F:
    """Return `body`, which calls `func`; a coroutine function if `func` is one."""
    if not is_coroutine_function(func):
        return known_as(func, body)

    async def awaiting(*args: Any) -> Any:
        return await body(*args)

    return cast("F", known_as(func, awaiting))


def known_as(func: Any, body: F) -> F:
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


def as_branches(functions: Sequence[Any]) -> list[ParallelBranch[Any]]:
    """Return branches; what is none yet becomes one without a name."""
    return [
        function if isinstance(function, ParallelBranch) else ParallelBranch[Any](function)
        for function in functions
    ]
