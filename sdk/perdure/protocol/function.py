"""What a worker serves: functions of any kind, and what it needs to know about each.

A kind says how one invocation is run into an outcome. Durable functions replay a handler, plain
ones call it once; another kind may run it in another process. Whoever serves them (the worker, the
testing kit) knows this protocol and no kind.
"""

from typing import Protocol

from perdure.protocol.invocation import InvocationEnvironment
from perdure.protocol.outcome import Outcome
from perdure.settings.functions import FunctionSettings


class RegisteredFunction(Protocol):
    """A function as workers announce and run it."""

    @property
    def settings(self) -> FunctionSettings:
        """What it is called, and what holds for executions that are started without their own."""
        ...

    @property
    def durable(self) -> bool:
        """Whether its executions record operations; the service refuses those of others."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether invocations are run by `run_async`, and not by `run`."""
        ...

    def run(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this thread, which is its own, and say how it ended.

        Whatever goes wrong becomes an outcome. A turn that has passed is learned from checkpoints
        alone, and ends as `Lost`.
        """
        ...

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        """Run one invocation on this loop, a `HandlerLoop` that it shares with others.

        Being cancelled means that the turn has passed: stop what runs, and return `Lost`.
        """
        ...
