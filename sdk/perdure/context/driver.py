"""Protocol of drivers: how a context calls user code and drives programs."""

from collections.abc import Callable
from typing import Any, Protocol

from perdure.invocation.scope import Scope
from perdure.operations.attempt import Attempt
from perdure.operations.program import Program
from perdure.primitives.operation_contexts import LoggerInterface


class Driver(Protocol):
    """Calls user code, and performs the effects of programs."""

    def context(self, scope: Scope, logger: LoggerInterface, /) -> Any:
        """Return the context that user code receives for `scope`."""
        ...

    def user_function(
        self, func: Callable[..., Any], attempt: Attempt | None = None
    ) -> Callable[..., Any]:
        """Return how to call `func`, which makes no durable calls, within the attempt's limits."""
        ...

    def run_body(self, scope: Scope, body: Callable[[], Any]) -> Any:
        """Call `body`, whose durable calls belong to `scope`."""
        ...

    def drive(self, scope: Scope, program: Program[Any]) -> Any:
        """Perform the effects of `program`, and return its value."""
        ...
