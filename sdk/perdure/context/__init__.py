"""Public module: the contexts of handlers, and the decorators of durable steps and branches."""

from perdure.context.decorators import (
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.context.durable_context import Callback, DurableContext, DurableWait
from perdure.primitives.execution_context import ExecutionContext

__all__ = [
    "Callback",
    "DurableContext",
    "DurableWait",
    "ExecutionContext",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
]
