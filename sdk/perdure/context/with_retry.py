"""The function `with_retry`, which retries a block of durable operations."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

from perdure.context.async_context import AsyncDurableContext
from perdure.context.durable_context import DurableContext
from perdure.settings.operations import WithRetryConfig

T = TypeVar("T")


@overload
def with_retry(
    context: "DurableContext",
    func: "Callable[[DurableContext, int], T]",
    config: WithRetryConfig[T],
    name: str | None = None,
) -> T: ...
@overload
def with_retry(
    context: "AsyncDurableContext",
    func: "Callable[[AsyncDurableContext, int], Awaitable[T]]",
    config: WithRetryConfig[T],
    name: str | None = None,
) -> Coroutine[Any, Any, T]: ...
def with_retry(
    context: "DurableContext | AsyncDurableContext",
    func: Callable[[Any, int], Any],
    config: WithRetryConfig[Any],
    name: str | None = None,
) -> Any:
    """Retry a block of durable operations, `func(context, attempt)`, until it does not raise.

    A durable wait named `{name}-backoff-{attempt}` separates two attempts. When the strategy stops,
    raises `ChildContextError`; without a child context, what the block raised.
    """
    return context.perform_with_retry(func, config, name)
