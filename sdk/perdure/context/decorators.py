"""Decorators that bind the arguments of a function, so that it can be passed to an operation.

Each turns `f(ctx, *args)` into `f(*args) -> callable(ctx)` and keeps the name of `f`, which names
the operation. A decorated coroutine function can be used in async handlers only.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from perdure.context.parallel_branch import ParallelBranch
from perdure.exceptions import ValidationError
from perdure.invocation.scope import check_value_is_used
from perdure.primitives.bound_function import Bound, matching_kind
from perdure.primitives.operation_contexts import StepContext, WaitForCallbackContext
from perdure.primitives.parameters import MAKES, Parameters, name_of

P = ParamSpec("P")
C = TypeVar("C")
T = TypeVar("T")


def durable_step(
    func: Callable[Concatenate[StepContext, P], T],
) -> Callable[P, Callable[[StepContext], T]]:
    """Decorate `func(step_context, *args)`: called with its arguments, it fits `context.step`.

    The step is named after the function.
    """
    parameters = Parameters(func, 1)

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[StepContext], T]:
        parameters.check(args, kwargs)
        check_value_is_used(name_of(func), "durable_step")

        def body(step_context: StepContext) -> T:
            return func(step_context, *args, **kwargs)

        return Bound(matching_kind(func, body), func.__name__)

    setattr(bind, MAKES, "durable_step")
    return bind


def durable_with_child_context(
    func: Callable[Concatenate[C, P], T],
) -> Callable[P, Callable[[C], T]]:
    """Decorate `func(context, *args)` for `context.run_in_child_context`.

    Call it with its arguments and pass the result. The context is named after the function.
    """
    parameters = Parameters(func, 1)

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[C], T]:
        parameters.check(args, kwargs)
        check_value_is_used(name_of(func), "durable_with_child_context")

        def body(context: C) -> T:
            return func(context, *args, **kwargs)

        return Bound(matching_kind(func, body), func.__name__)

    setattr(bind, MAKES, "durable_with_child_context")
    return bind


def durable_wait_for_callback(
    func: Callable[Concatenate[str, WaitForCallbackContext, P], T],
) -> Callable[P, Callable[[str, WaitForCallbackContext], T]]:
    """Decorate `func(callback_id, context, *args)` for `context.wait_for_callback`.

    Call it with its arguments and pass the result. The operation is named after the function.
    """
    parameters = Parameters(func, 2)

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[str, WaitForCallbackContext], T]:
        parameters.check(args, kwargs)
        check_value_is_used(name_of(func), "durable_wait_for_callback")

        def submit(callback_id: str, context: WaitForCallbackContext) -> T:
            return func(callback_id, context, *args, **kwargs)

        return Bound(matching_kind(func, submit), func.__name__)

    setattr(bind, MAKES, "durable_wait_for_callback")
    return bind


def durable_parallel_branch(
    name: str | None = None,
) -> Callable[[Callable[Concatenate[Any, P], T]], Callable[P, ParallelBranch[T]]]:
    """Decorate `func(context, *args)`: called with its arguments, it is a branch of `parallel`.

    `name` names the branch; without one it has its default name.
    """

    def decorate(
        func: Callable[Concatenate[Any, P], T],
    ) -> Callable[P, ParallelBranch[T]]:
        parameters = Parameters(func, 1)

        @functools.wraps(func)
        def bind(*args: P.args, **kwargs: P.kwargs) -> ParallelBranch[T]:
            parameters.check(args, kwargs)
            check_value_is_used(name_of(func), "durable_parallel_branch()")

            def body(context: Any) -> T:
                return func(context, *args, **kwargs)

            return ParallelBranch(matching_kind(func, body), name)

        setattr(bind, MAKES, "durable_parallel_branch()")
        return bind

    return decorate


def as_branches(functions: Sequence[Any]) -> list[ParallelBranch[Any]]:
    """Return the functions as branches; those that are not branches yet have no name.

    Raises `ValidationError` for one function in place of several.
    """
    argument: object = functions
    if isinstance(argument, ParallelBranch) or not hasattr(argument, "__iter__"):
        raise ValidationError(
            f"The branches must be a list of functions, got {type(argument).__name__}."
            " Write [function, …], also around a single one."
        )
    return [
        function if isinstance(function, ParallelBranch) else ParallelBranch[Any](function)
        for function in functions
    ]
