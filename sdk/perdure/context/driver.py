"""What a context asks of its driver: call user code, and perform programs."""

from collections.abc import Callable
from typing import Any, Protocol

from perdure.invocation.scope import Scope
from perdure.operations.attempt import Attempt
from perdure.operations.program import Program
from perdure.primitives.operation_contexts import LoggerInterface


class Driver(Protocol):
    """How user code is called, and how programs are carried out."""

    def context(self, scope: Scope, logger: LoggerInterface, /) -> Any:
        """Return the context that user code is given for `scope`."""
        ...

    def user_function(
        self, func: Callable[..., Any], attempt: Attempt | None = None
    ) -> Callable[..., Any]:
        """Return how to call user code that makes no durable calls, in time if there is a limit."""
        ...

    def run_body(self, scope: Scope, body: Callable[[], Any]) -> Any:
        """Call `body`, whose durable calls belong to `scope`."""
        ...

    def drive(self, scope: Scope, program: Program[Any]) -> Any:
        """Carry `program` out."""
        ...
