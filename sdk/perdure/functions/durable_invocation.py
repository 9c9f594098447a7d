"""One invocation of a durable function: replay the handler, and go on from there."""

from asyncio import wrap_future
from functools import partial
from typing import Any, Protocol

from perdure.context.async_context import AsyncDurableContext
from perdure.context.durable_context import DurableContext
from perdure.drivers.asyncio_driver import AsyncDriver
from perdure.drivers.tasks import TaskSupervisor, await_user_code
from perdure.functions.handler_io import Handler, decode_input, encode_output, outcome_for
from perdure.invocation.scope import Scope
from perdure.invocation.state import InvocationState
from perdure.plugins.invocation_plugins import InvocationPlugins
from perdure.plugins.loading import Factories
from perdure.primitives.context_variables import call_in_copy
from perdure.primitives.logger import log_extra, set_log_fields
from perdure.primitives.user_code import call_user_code
from perdure.protocol.invocation import Invocation, InvocationEnvironment
from perdure.protocol.outcome import Outcome, Succeeded


class DurableHandler(Handler, Protocol):
    """A handler with the factories of its plugins."""

    plugins: Factories


def run_handler(function: DurableHandler, environment: InvocationEnvironment) -> Outcome:
    """Run the handler on this thread until it returns, raises or suspends."""
    state = _state(function, environment)
    # The thread is not this invocation's alone: variables that are set go with the invocation.
    return call_in_copy(lambda: _run_with_plugins(function, environment.invocation, state))


async def run_handler_async(
    function: DurableHandler, environment: InvocationEnvironment
) -> Outcome:
    """Run the async handler on this loop; being cancelled means that the invocation is lost."""
    state = _state(function, environment)
    supervisor = TaskSupervisor(state)
    outcome = await supervisor.run(_run_async(function, environment.invocation, supervisor))
    if state.plugins is not None:
        try:
            await wrap_future(state.plugins.stop_changes())
        finally:
            supervisor.variables.run(state.plugins.end, outcome)
    return outcome


def _state(function: DurableHandler, environment: InvocationEnvironment) -> InvocationState:
    plugins = InvocationPlugins.of(function.plugins, environment.invocation, environment.now_ms)
    return InvocationState(environment, plugins)


def _run_with_plugins(function: Handler, invocation: Invocation, state: InvocationState) -> Outcome:
    set_log_fields(log_extra(state.execution_arn))
    outcome = _run(function, invocation, state)
    if state.plugins is not None:
        # Without a deadline: this is user code, and the invocation lasts as long as it runs.
        state.plugins.stop_changes().result()
        state.plugins.end(outcome)
    return outcome


def _run(function: Handler, invocation: Invocation, state: InvocationState) -> Outcome:
    scope = _root(invocation, state)
    try:
        if state.plugins is not None:
            state.plugins.start()
        event = decode_input(function, invocation)
        context = DurableContext(scope)
        value = scope.run(lambda: call_user_code(lambda: function(event, context)))
        scope.check_all_replayed()
        end: Outcome = Succeeded(encode_output(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        end = outcome_for(error)
    return state.end(end)


async def _run_async(
    function: Handler, invocation: Invocation, supervisor: TaskSupervisor
) -> Outcome:
    state = supervisor.invocation
    set_log_fields(log_extra(state.execution_arn))
    scope = _root(invocation, state)
    driver = AsyncDriver(supervisor, AsyncDurableContext)

    async def body() -> Any:
        context = AsyncDurableContext(scope, driver)
        value = await await_user_code(
            partial(function, event, context), lambda: state.termination is not None
        )
        # A task that is left may not have reached the calls that it made before a crash.
        if supervisor.only_handler_left and state.termination is None:
            scope.check_all_replayed()
        return value

    try:
        if state.plugins is not None:
            state.plugins.start()
        event = decode_input(function, invocation)
        value = await driver.run_body(scope, body)
        return Succeeded(encode_output(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return outcome_for(error)


def _root(invocation: Invocation, state: InvocationState) -> Scope:
    return Scope(state, state.fibers.root, replaying=len(invocation.operations) > 1)
