"""One invocation of a durable function: its handler is replayed, and goes on from there."""

from asyncio import wrap_future
from contextvars import copy_context
from typing import Any

from perdure.context.async_context import AsyncDurableContext, AwaitingShell
from perdure.context.durable_context import DurableContext
from perdure.drivers.tasks import Crew
from perdure.functions.handler_io import Handler, decode_input, encode_output, outcome_for
from perdure.invocation.scope import Scope
from perdure.invocation.state import Turn
from perdure.plugins.invocation_plugins import InvocationPlugins
from perdure.protocol.invocation import Invocation
from perdure.protocol.outcome import Outcome, Succeeded


def run_handler(function: Handler, invocation: Invocation, turn: Turn) -> Outcome:
    """Run the handler on this thread until it returns, raises or suspends."""
    plugins = turn.plugins
    if plugins is None:
        return _run(function, invocation, turn)
    # The thread is not this invocation's alone: variables that plugins set go with the invocation.
    return copy_context().run(_run_watched, function, invocation, turn, plugins)


async def run_handler_async(function: Handler, invocation: Invocation, turn: Turn) -> Outcome:
    """Run the async handler on this loop; being cancelled means that the turn has passed."""
    crew = Crew(turn)
    outcome = await crew.conduct(_handle(function, invocation, crew))
    if turn.plugins is not None:
        try:
            await wrap_future(turn.plugins.stop_changes())
        finally:
            crew.variables.run(turn.plugins.end, outcome)
    return outcome


def _run_watched(
    function: Handler, invocation: Invocation, turn: Turn, plugins: InvocationPlugins
) -> Outcome:
    outcome = _run(function, invocation, turn)
    # Without a deadline: this is user code, and the invocation lasts as long as it runs.
    plugins.stop_changes().result()
    plugins.end(outcome)
    return outcome


def _run(function: Handler, invocation: Invocation, turn: Turn) -> Outcome:
    scope = _root(invocation, turn)
    try:
        if turn.plugins is not None:
            turn.plugins.start()
        event = decode_input(function, invocation)
        value = scope.run(lambda: function(event, DurableContext(scope)))
        scope.require_all_asked()
        end: Outcome = Succeeded(encode_output(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        end = outcome_for(error)
    return turn.end(end)


async def _handle(function: Handler, invocation: Invocation, crew: Crew) -> Outcome:
    scope = _root(invocation, crew.turn)
    shell = AwaitingShell(crew)

    async def body() -> Any:
        value = await function(event, AsyncDurableContext(scope, shell))
        # A task that is left behind may not have come to what it had asked for before a crash.
        if crew.alone and crew.turn.settled is None:
            scope.require_all_asked()
        return value

    try:
        if crew.turn.plugins is not None:
            crew.turn.plugins.start()
        event = decode_input(function, invocation)
        value = await shell.enter(scope, body)
        return Succeeded(encode_output(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return outcome_for(error)


def _root(invocation: Invocation, turn: Turn) -> Scope:
    return Scope(turn, turn.strands.root, replaying=len(invocation.operations) > 1)
