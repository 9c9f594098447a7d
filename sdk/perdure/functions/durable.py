"""Durable functions, and the decorator `@durable_execution` that makes them of handlers."""

import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast, overload

from perdure.context.async_context import AsyncDurableContext
from perdure.context.durable_context import DurableContext
from perdure.exceptions import ValidationError
from perdure.functions.decorator import decorate
from perdure.functions.durable_invocation import run_handler, run_handler_async
from perdure.plugins.hooks import DurableInstrumentationPluginFactory
from perdure.plugins.loading import Factories, load_plugins
from perdure.primitives.duration import Duration
from perdure.protocol.invocation import InvocationEnvironment
from perdure.protocol.outcome import Outcome
from perdure.settings.functions import FunctionSettings

__all__ = ["DurableFunction", "durable_execution"]

DurableHandler = (
    Callable[[Any, DurableContext], Any]
    | Callable[[Any, AsyncDurableContext], Coroutine[Any, Any, Any]]
)


class DurableFunction:
    """A handler that workers can host.

    `settings` hold its name, and defaults for executions that are started without their own.
    Calling it runs the handler with the context of an invocation: an `AsyncDurableContext` if the
    handler `is_async`. Each of `plugins` makes one plugin for every invocation.
    """

    __name__: str

    def __init__(
        self, handler: DurableHandler, settings: FunctionSettings, *, plugins: Factories = ()
    ) -> None:
        functools.update_wrapper(self, cast("Callable[..., Any]", handler))
        self.settings = settings
        self.handler: Callable[..., Any] = handler
        self.is_async = inspect.iscoroutinefunction(handler)
        self.durable = True
        self.plugins = plugins

    def __call__(self, event: Any, context: DurableContext | AsyncDurableContext) -> Any:
        """Run the handler. Raises `ValidationError` without the context of an invocation."""
        expected = AsyncDurableContext if self.is_async else DurableContext
        if not isinstance(context, expected):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ValidationError(
                f"{self.settings.name!r} is a durable function: a worker hosts it and calls it "
                f"with a {expected.__name__}, not with {type(context).__name__}. "
                "Start it with perdure.Client or `perdure invoke`."
            )
        return self.handler(event, context)

    def run(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this thread; workers call this."""
        return run_handler(self, environment)

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this loop, a `HandlerLoop`; workers call this."""
        return await run_handler_async(self, environment)

    def __repr__(self) -> str:
        return f"<durable function {self.settings.name}>"


@overload
def durable_execution(func: DurableHandler, /) -> DurableFunction: ...
@overload
def durable_execution(
    func: None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
    tenant_isolation: bool = False,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
) -> Callable[[DurableHandler], DurableFunction]: ...
def durable_execution(
    func: DurableHandler | None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
    tenant_isolation: bool = False,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
) -> DurableFunction | Callable[[DurableHandler], DurableFunction]:
    """Make a durable function of a handler `(event, context)`; usable bare or with arguments.

    `name`: 1 to 64 characters of [A-Za-z0-9-_]; the handler's own by default. `execution_timeout`:
    how long one execution may take in all, 1 s to 366 days, rounded up to whole seconds; 366 days
    by default. `retention_days`: how long an ended execution is kept, 1 to 90; 14 by default.
    With `tenant_isolation` each execution belongs to a tenant, whose id every start must name.
    Raises `ValidationError` outside these bounds. A coroutine function receives an
    `AsyncDurableContext`.

    `plugins`: factories of `perdure.plugin`; those that the environment variable
    DURABLE_EXECUTION_PLUGINS names come after them. Raises `PluginLoadError` for anything else.
    """

    def make(handler: DurableHandler, settings: FunctionSettings) -> DurableFunction:
        return DurableFunction(handler, settings, plugins=load_plugins(plugins or (), os.environ))

    return decorate(
        make,
        func,
        name=name,
        execution_timeout=execution_timeout,
        retention_days=retention_days,
        tenant_isolation=tenant_isolation,
    )
