"""Durable functions: what `@durable_execution` makes of a handler."""

import functools
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast, overload

from perdure.async_context import AsyncDurableContext
from perdure.config import Duration
from perdure.context import DurableContext
from perdure.exceptions import ValidationError
from perdure_core.limits import (
    EXECUTION_TIMEOUT_S_MAX,
    FUNCTION_NAME_CHARS_MAX,
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
)

__all__ = ["DurableFunction", "durable_execution"]

Handler = (
    Callable[[Any, DurableContext], Any]
    | Callable[[Any, AsyncDurableContext], Coroutine[Any, Any, Any]]
)

_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{FUNCTION_NAME_CHARS_MAX}}}")


class DurableFunction:
    """A handler that workers can host.

    `name` is what starts it; `execution_timeout_s` (seconds) and `retention_days` hold for
    executions that are started without their own. Calling it runs the handler, given the context of
    a delivery: an `AsyncDurableContext` if the handler `is_async`.
    """

    __name__: str

    def __init__(
        self,
        handler: Handler,
        *,
        name: str,
        execution_timeout_s: int = EXECUTION_TIMEOUT_S_MAX,
        retention_days: int = RETENTION_DAYS_DEFAULT,
    ) -> None:
        _check(name, execution_timeout_s, retention_days)
        functools.update_wrapper(self, cast("Callable[..., Any]", handler))
        self.name = name
        self.handler: Callable[..., Any] = handler
        self.is_async = inspect.iscoroutinefunction(handler)
        self.execution_timeout_s = execution_timeout_s
        self.retention_days = retention_days

    def __call__(self, event: Any, context: DurableContext | AsyncDurableContext) -> Any:
        """Run the handler. Raises `ValidationError` without the context of a delivery."""
        wanted = AsyncDurableContext if self.is_async else DurableContext
        if not isinstance(context, wanted):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ValidationError(
                f"{self.name!r} is a durable function: a worker hosts it and calls it with a "
                f"{wanted.__name__}, not with {type(context).__name__}. "
                "Start it with perdure.Client or `perdure invoke`."
            )
        return self.handler(event, context)

    def __repr__(self) -> str:
        return f"<durable function {self.name}>"


@overload
def durable_execution(func: Handler, /) -> DurableFunction: ...
@overload
def durable_execution(
    func: None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
) -> Callable[[Handler], DurableFunction]: ...
def durable_execution(
    func: Handler | None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
) -> DurableFunction | Callable[[Handler], DurableFunction]:
    """Make a durable function of a handler `(event, context)`; usable bare or with arguments.

    `name`: 1 to 64 characters of [A-Za-z0-9-_]; the handler's own by default. `execution_timeout`:
    how long one execution may take in all, 1 s to 366 days, rounded up to whole seconds; 366 days
    by default. `retention_days`: how long an ended execution is kept, 1 to 90; 14 by default.
    Raises `ValidationError` outside these bounds. A coroutine function is given an
    `AsyncDurableContext`.
    """

    def decorate(handler: Handler) -> DurableFunction:
        return DurableFunction(
            handler,
            name=name or str(getattr(handler, "__name__", "")),
            execution_timeout_s=(
                EXECUTION_TIMEOUT_S_MAX
                if execution_timeout is None
                else execution_timeout.to_seconds_up()
            ),
            retention_days=RETENTION_DAYS_DEFAULT if retention_days is None else retention_days,
        )

    return decorate if func is None else decorate(func)


def _check(name: str, execution_timeout_s: int, retention_days: int) -> None:
    if not _NAME.fullmatch(name):
        raise ValidationError(
            f"A function's name is 1 to {FUNCTION_NAME_CHARS_MAX} characters of [A-Za-z0-9-_]: "
            f"{name!r}. Give one with @durable_execution(name=…)."
        )
    if not 1 <= execution_timeout_s <= EXECUTION_TIMEOUT_S_MAX:
        raise ValidationError(
            f"An execution timeout is 1 to {EXECUTION_TIMEOUT_S_MAX:,} s: {execution_timeout_s:,}."
        )
    if not 1 <= retention_days <= RETENTION_DAYS_MAX:
        raise ValidationError(f"Retention is 1 to {RETENTION_DAYS_MAX} days: {retention_days}.")
