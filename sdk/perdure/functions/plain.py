"""Plain functions, and the decorator `@plain_function` that makes them of handlers.

An execution of one makes no checkpoints. It ends with what the handler returns or raises; when the
worker is lost, or the invocation fails, the handler is called again from its first line, until the
execution times out. So it runs at least once, and must be safe to repeat.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast, overload

from perdure.functions.decorator import decorate
from perdure.functions.plain_context import PlainContext
from perdure.functions.plain_invocation import call_handler, call_handler_async
from perdure.primitives.duration import Duration
from perdure.protocol.invocation import InvocationEnvironment
from perdure.protocol.outcome import Outcome
from perdure.settings.functions import FunctionSettings

__all__ = ["PlainContext", "PlainFunction", "plain_function"]

PlainHandler = Callable[[Any, PlainContext], Any]


class PlainFunction:
    """A handler without durable operations that workers can host.

    `settings` hold its name, and defaults for executions that are started without their own.
    Calling it calls the handler.
    """

    __name__: str

    def __init__(self, handler: PlainHandler, settings: FunctionSettings) -> None:
        functools.update_wrapper(self, cast("Callable[..., Any]", handler))
        self.settings = settings
        self.handler: Callable[..., Any] = handler
        self.is_async = inspect.iscoroutinefunction(handler)
        self.durable = False

    def __call__(self, event: Any, context: PlainContext) -> Any:
        """Call the handler; await what an async one returns."""
        return self.handler(event, context)

    def run(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this thread; workers call this."""
        return call_handler(self, environment)

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this loop, a `HandlerLoop`; workers call this."""
        return await call_handler_async(self, environment)

    def __repr__(self) -> str:
        return f"<plain function {self.settings.name}>"


@overload
def plain_function(func: PlainHandler, /) -> PlainFunction: ...
@overload
def plain_function(
    func: None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
    tenant_isolation: bool = False,
) -> Callable[[PlainHandler], PlainFunction]: ...
def plain_function(
    func: PlainHandler | None = None,
    *,
    name: str | None = None,
    execution_timeout: Duration | None = None,
    retention_days: int | None = None,
    tenant_isolation: bool = False,
) -> PlainFunction | Callable[[PlainHandler], PlainFunction]:
    """Make a plain function of a handler `(event, context)`; usable bare or with arguments.

    It is started and invoked as durable functions are, and records nothing but its end: it runs
    again when its worker is lost. Its arguments and bounds are those of
    `durable_execution`; raises `ValidationError` outside of them. A coroutine function is awaited.
    """
    return decorate(
        PlainFunction,
        func,
        name=name,
        execution_timeout=execution_timeout,
        retention_days=retention_days,
        tenant_isolation=tenant_isolation,
    )
