"""Run a function for one invocation, and return how it ended. Workers import `perdure.worker_api`.

`run_invocation` raises nothing that a handler does: whatever happens becomes one of six outcomes.
What handlers are given and what they return is plain JSON, as in AWS Lambda.
"""

from collections.abc import Callable

from perdure.drivers.handler_loop import HandlerLoop, close_loop, run_to_end
from perdure.invocation.state import system_now_ms
from perdure.protocol.function import RegisteredFunction
from perdure.protocol.invocation import (
    CheckpointWriter,
    Invocation,
    InvocationEnvironment,
    InvocationObserver,
)
from perdure.protocol.outcome import Outcome


def run_invocation(
    function: RegisteredFunction,
    invocation: Invocation,
    checkpoints: CheckpointWriter,
    *,
    observer: InvocationObserver | None = None,
    now_ms: Callable[[], int] = system_now_ms,
) -> Outcome:
    """Run the function against what is recorded; block until it returns, raises or suspends.

    Call it in a thread of its own; an async handler runs on a loop of its own there. `Pending`
    promises that the updates sent before are durable. `now_ms`, since 1970, is the clock of the
    service's timers: a branch that waits for time goes on in place when others keep the invocation
    going until then.
    """
    delivered = InvocationEnvironment(invocation, checkpoints, observer, now_ms)
    if not function.is_async:
        return function.run(delivered)
    loop = HandlerLoop()
    try:
        return run_to_end(loop, function.run_async(delivered))
    finally:
        close_loop(loop)


async def run_invocation_async(
    function: RegisteredFunction,
    invocation: Invocation,
    checkpoints: CheckpointWriter,
    *,
    observer: InvocationObserver | None = None,
    now_ms: Callable[[], int] = system_now_ms,
) -> Outcome:
    """Run an async function on this loop, a `HandlerLoop`; see `run_invocation`.

    Many may run at once. Being cancelled means that the turn has passed.
    """
    delivered = InvocationEnvironment(invocation, checkpoints, observer, now_ms)
    return await function.run_async(delivered)
