"""Run a handler for one invocation, and say how it ended. This is what a worker imports.

`run_invocation` raises nothing that a handler does: whatever happens becomes one of five outcomes.
What handlers are given and what they return is plain JSON, as in AWS Lambda.
"""

from asyncio import CancelledError
from collections.abc import Callable
from contextlib import closing

from perdure.async_context import AsyncDurableContext, AwaitingShell
from perdure.context import DurableContext
from perdure.crew import Crew
from perdure.delivery import (
    CheckpointAnswer,
    CheckpointRefused,
    Checkpoints,
    CheckpointUnavailable,
    Invocation,
    InvocationObserver,
    TurnPassed,
)
from perdure.execution import DurableFunction
from perdure.handler_loop import HandlerLoop, run_to_end
from perdure.handling import event_of, outcome_of, result_of
from perdure.outcome import Broken, Diverged, Dropped, Failed, Outcome, Pending, Succeeded
from perdure.scope import Scope
from perdure.turn import Turn, system_now_ms

__all__ = [
    "Broken",
    "CheckpointAnswer",
    "CheckpointRefused",
    "CheckpointUnavailable",
    "Checkpoints",
    "Diverged",
    "Dropped",
    "Failed",
    "Invocation",
    "InvocationObserver",
    "Outcome",
    "Pending",
    "Succeeded",
    "TurnPassed",
    "run_invocation",
    "run_invocation_async",
]


def run_invocation(
    function: DurableFunction,
    invocation: Invocation,
    checkpoints: Checkpoints,
    *,
    observer: InvocationObserver | None = None,
    now_ms: Callable[[], int] = system_now_ms,
) -> Outcome:
    """Run the handler against what is recorded; block until it returns, raises or suspends.

    Call it in a thread of its own; an async handler runs on a loop of its own there. `Pending`
    promises that the updates sent before are durable. `now_ms`, since 1970, is the clock of the
    service's timers: a branch that waits for time goes on in place when others keep the invocation
    going until then.
    """
    if function.is_async:
        running = run_invocation_async(
            function, invocation, checkpoints, observer=observer, now_ms=now_ms
        )
        with closing(HandlerLoop()) as loop:
            return run_to_end(loop, running)
    turn = Turn(invocation, checkpoints, observer, now_ms)
    return turn.end(_run(function, invocation, turn))


async def run_invocation_async(
    function: DurableFunction,
    invocation: Invocation,
    checkpoints: Checkpoints,
    *,
    observer: InvocationObserver | None = None,
    now_ms: Callable[[], int] = system_now_ms,
) -> Outcome:
    """Run an async handler on this loop, a `HandlerLoop`; see `run_invocation`.

    Many may run at once. Being cancelled means that the turn has passed.
    """
    crew = Crew(Turn(invocation, checkpoints, observer, now_ms))
    handling = crew.start(_run_async(function, invocation, crew))
    try:
        await crew.wait_over()
    except CancelledError:
        crew.turn.settle(Dropped())
    return await crew.end(handling)


def _run(function: DurableFunction, invocation: Invocation, turn: Turn) -> Outcome:
    scope = _root(invocation, turn)
    try:
        event = event_of(function, invocation)
        value = scope.run(lambda: function(event, DurableContext(scope)))
        scope.require_all_asked()
        return Succeeded(result_of(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return outcome_of(error)


async def _run_async(function: DurableFunction, invocation: Invocation, crew: Crew) -> Outcome:
    scope = _root(invocation, crew.turn)
    shell = AwaitingShell(crew)
    try:
        event = event_of(function, invocation)
        value = await shell.enter(scope, lambda: function(event, AsyncDurableContext(scope, shell)))
        return Succeeded(result_of(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return outcome_of(error)


def _root(invocation: Invocation, turn: Turn) -> Scope:
    return Scope(turn, turn.strands.root, replaying=len(invocation.operations) > 1)
