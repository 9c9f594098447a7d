"""One invocation of a plain function: call the handler once; its end is the execution's.

A plain function cannot wait: whatever it raises ends the execution, but for what breaks the
invocation alone.
"""

import logging
from functools import partial

from perdure.drivers.tasks import TaskSupervisor, await_user_code
from perdure.exceptions import NonDeterministicExecutionError
from perdure.functions.handler_io import Handler, decode_input, encode_output, outcome_for
from perdure.functions.plain_context import PlainContext
from perdure.invocation.state import InvocationState
from perdure.primitives.context_variables import await_in_copy, call_in_copy
from perdure.primitives.logger import Logger, log_extra, set_log_fields
from perdure.primitives.user_code import call_user_code, raised_error
from perdure.protocol.invocation import Invocation, InvocationEnvironment
from perdure.protocol.outcome import Diverged, Failed, Outcome, Pending, Succeeded
from perdure.serdes.error_records import error_record
from perdure_core.timestamps import from_epoch_ms


def call_handler(function: Handler, environment: InvocationEnvironment) -> Outcome:
    """Call the handler on this thread."""
    diverged = _divergence(function, environment.invocation)
    if diverged is not None:
        return diverged
    try:
        return call_in_copy(lambda: _call(function, environment))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return _ending(error)


async def call_handler_async(function: Handler, environment: InvocationEnvironment) -> Outcome:
    """Call the async handler on this loop; being cancelled means that the invocation is lost."""
    diverged = _divergence(function, environment.invocation)
    if diverged is not None:
        return diverged
    state = InvocationState(environment)
    return await TaskSupervisor(state).run(_call_async(function, environment, state))


def _call(function: Handler, environment: InvocationEnvironment) -> Outcome:
    set_log_fields(log_extra(environment.invocation.execution_arn))
    event = decode_input(function, environment.invocation)
    value = call_user_code(lambda: function(event, _context(environment)))
    return Succeeded(encode_output(function, value))


async def _call_async(
    function: Handler, environment: InvocationEnvironment, state: InvocationState
) -> Outcome:
    set_log_fields(log_extra(environment.invocation.execution_arn))
    try:
        event = decode_input(function, environment.invocation)
        call = partial(function, event, _context(environment))
        value = await await_user_code(
            partial(await_in_copy, call), lambda: state.termination is not None
        )
        return Succeeded(encode_output(function, value))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises has a meaning
        return _ending(error)


def _ending(error: BaseException) -> Outcome:
    end = outcome_for(error)
    # There is nothing that it could wait for, and nothing that it could differ from.
    return Failed(error_record(raised_error(error))) if isinstance(end, Pending | Diverged) else end


def _divergence(function: Handler, invocation: Invocation) -> Diverged | None:
    """Return how the invocation ends if its execution was one of a durable function, else None."""
    recorded = len(invocation.operations) - 1
    if recorded <= 0:
        return None
    error = NonDeterministicExecutionError(
        f"{function.settings.name!r} is a plain function here, which has no durable operations, but"
        f" {recorded:,} are recorded. Serve it as a durable function until its executions have"
        " ended, or give the plain one another name."
    )
    return Diverged(error_record(error))


def _context(environment: InvocationEnvironment) -> PlainContext:
    invocation, now_ms = environment.invocation, environment.now_ms
    deadline_ms = invocation.deadline_ms
    return PlainContext(
        execution_arn=invocation.execution_arn,
        function_name=invocation.function_name,
        logger=Logger(logging.getLogger(), log_extra(invocation.execution_arn)),
        deadline=None if deadline_ms is None else from_epoch_ms(deadline_ms),
        tenant_id=invocation.tenant_id,
        now=lambda: from_epoch_ms(now_ms()),
    )
