"""Public module: the `@durable_execution` decorator."""

from perdure.functions.durable import DurableFunction, durable_execution

__all__ = [
    "DurableFunction",
    "durable_execution",
]
