"""Runs a function for one invocation, and returns how it ended. Workers use `perdure.worker_api`.

`run_invocation` raises nothing that a handler does: whatever happens becomes one of six outcomes.
What handlers receive and return is plain JSON, as in AWS Lambda.
"""

from perdure.drivers.handler_loop import HandlerLoop, close_loop, run_to_end
from perdure.protocol.function import RegisteredFunction
from perdure.protocol.invocation import InvocationEnvironment
from perdure.protocol.outcome import Outcome


def run_invocation(function: RegisteredFunction, environment: InvocationEnvironment) -> Outcome:
    """Run the function against what is recorded; block until it returns, raises or suspends.

    Call it in a thread of its own; an async handler runs on a loop of its own there. `Pending`
    promises that the updates sent before are durable.
    """
    if not function.is_async:
        return function.run(environment)
    loop = HandlerLoop()
    try:
        return run_to_end(loop, function.run_async(environment))
    finally:
        close_loop(loop)


async def run_invocation_async(
    function: RegisteredFunction, environment: InvocationEnvironment
) -> Outcome:
    """Run an async function on this loop, a `HandlerLoop`; see `run_invocation`.

    Many may run at once. Being cancelled means that the invocation is lost.
    """
    return await function.run_async(environment)
