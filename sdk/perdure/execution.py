"""Durable functions: what `@durable_execution` makes of a handler."""

import functools
from collections.abc import Callable
from typing import Any


class DurableFunction:
    """A handler that workers can host."""

    def __init__(
        self,
        handler: Callable[[Any, Any], Any],
        *,
        name: str,
        execution_timeout_s: int,
        retention_days: int,
    ) -> None:
        self.name = name
        self.handler = handler
        self.execution_timeout_s = execution_timeout_s
        self.retention_days = retention_days
        functools.update_wrapper(self, handler)
