"""Protocol of the functions that a worker registers and runs.

Each kind of function runs one invocation to an outcome in its own way: durable functions replay a
handler, plain ones call it once; another kind may run it in another process. The worker and the
testing kit know this protocol, and no kind.
"""

from typing import Protocol

from perdure.protocol.invocation import InvocationEnvironment
from perdure.protocol.outcome import Outcome
from perdure.settings.functions import FunctionSettings


class RegisteredFunction(Protocol):
    """A function as workers register and run it."""

    @property
    def settings(self) -> FunctionSettings:
        """Its name, and defaults for executions that are started without their own."""
        ...

    @property
    def durable(self) -> bool:
        """Whether its executions record operations; the service refuses operations of others."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether invocations are run by `run_async`, and not by `run`."""
        ...

    def run(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this thread, which is its own, and return how it ended.

        Every error becomes an outcome. Only checkpoints report that the invocation is lost; it ends
        as `Lost` then.
        """
        ...

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this loop, a `HandlerLoop` that it shares with others.

        Being cancelled means that the invocation is lost: stop its tasks, and return `Lost`.
        """
        ...
