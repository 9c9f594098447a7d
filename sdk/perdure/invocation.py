"""Run a handler for one invocation, and say how it ended. This is what a worker imports.

`run_invocation` raises nothing that a handler does: whatever happens becomes one of five outcomes.
What handlers are given and what they return is plain JSON, as in AWS Lambda.
"""

import json
from collections.abc import Callable
from typing import Any

from perdure.context import DurableContext
from perdure.delivery import (
    CheckpointAnswer,
    CheckpointRefused,
    Checkpoints,
    CheckpointUnavailable,
    Invocation,
    InvocationObserver,
    TurnPassed,
)
from perdure.error_objects import error_object
from perdure.exceptions import ExecutionError, InvocationError, SerDesError, SuspendExecution
from perdure.execution import DurableFunction
from perdure.outcome import Broken, Dropped, Failed, Outcome, Pending, Succeeded
from perdure.scope import Scope
from perdure.turn import Turn, failure_end, system_now_ms
from perdure_core.limits import EXECUTION_PAYLOAD_BYTES_MAX
from perdure_core.model import ExecutionDetails

__all__ = [
    "Broken",
    "CheckpointAnswer",
    "CheckpointRefused",
    "CheckpointUnavailable",
    "Checkpoints",
    "Dropped",
    "Failed",
    "Invocation",
    "InvocationObserver",
    "Outcome",
    "Pending",
    "Succeeded",
    "TurnPassed",
    "run_invocation",
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

    Call it in a thread of its own. `Pending` promises that the updates sent before are durable.
    `now_ms`, since 1970, is the clock of the service's timers: a branch that waits for time goes on
    in place when others keep the invocation going until then.
    """
    turn = Turn(invocation, checkpoints, observer, now_ms)
    return turn.end(_run(function, invocation, turn))


def _run(function: DurableFunction, invocation: Invocation, turn: Turn) -> Outcome:
    scope = Scope(turn, turn.strands.root, replaying=len(invocation.operations) > 1)
    try:
        event = _event(invocation)
        value = scope.run(lambda: function(event, DurableContext(scope)))
        return Succeeded(_result(function, value))
    except SuspendExecution:
        return Pending()
    except Exception as error:  # noqa: BLE001 - whatever a handler raises fails its execution
        return failure_end(error) or Failed(error_object(error))
    except BaseException as error:  # noqa: BLE001 - SystemExit and its like are no answer of the handler
        return failure_end(error) or Broken(error_object(error))


def _event(invocation: Invocation) -> Any:
    details = invocation.operations[0].details if invocation.operations else None
    if not isinstance(details, ExecutionDetails):
        raise InvocationError("The first recorded operation is not the execution itself.")
    if not (details.input or "").strip():
        return {}
    try:
        return json.loads(details.input or "")
    except ValueError as error:
        raise ExecutionError(f"The input of the execution is not JSON: {error}") from error


def _result(function: DurableFunction, value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerDesError(f"The result of {function.name!r} is not JSON: {error}") from error
    if len(text) > EXECUTION_PAYLOAD_BYTES_MAX:  # json.dumps writes ASCII: characters are bytes
        raise ExecutionError(
            f"The result of {function.name!r} is {len(text):,} bytes; "
            f"at most {EXECUTION_PAYLOAD_BYTES_MAX:,} are kept."
        )
    return text
