"""CPU time of one step in the SDK, when it runs and when it is replayed.

A handler runs its steps on a service that answers at once and records nothing. The minimum of all
rounds counts: disturbances only add to a measurement.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from perdure import DurableContext, durable_execution
from perdure.worker_api import (
    CheckpointAnswer,
    Invocation,
    InvocationEnvironment,
    Succeeded,
    run_invocation,
)
from perdure_core.model import (
    ExecutionDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)

STEPS = 3_000
ROUNDS = 9
ARN = "arn:perdure:lambda:default:000000000000:function:steps:$LATEST/durable-execution/a/b"


@durable_execution
def steps(_event: Any, context: DurableContext) -> None:
    """Run many small steps."""
    for _ in range(STEPS):
        context.step(lambda _: 1, name="charge")


class Answering:
    """A checkpoint writer that answers at once."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self._listener: Callable[[CheckpointAnswer], None]

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        """Register the listener for answers."""
        self._listener = listener

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> "Future[None]":
        """Answer with the operations as they are now."""
        changed = [operation_of(update) for update in updates]
        self.operations |= {operation.id: operation for operation in changed}
        if urgent:
            self._listener(CheckpointAnswer(tuple(changed), revoked=False))
        answered: Future[None] = Future()
        answered.set_result(None)
        return answered


def operation_of(update: OperationUpdate) -> Operation:
    """Return a step as the service would return it."""
    ended = update.action is OperationAction.SUCCEED
    return Operation(
        id=update.id,
        type=update.type,
        status=OperationStatus.SUCCEEDED if ended else OperationStatus.STARTED,
        started_ms=1,
        ended_ms=2 if ended else None,
        details=StepDetails(attempt=int(ended), result=update.payload),
        name=update.name,
        sub_type=update.sub_type,
    )


def invocation(recorded: Sequence[Operation] = ()) -> Invocation:
    """Return an invocation with these recorded operations."""
    execution = Operation(
        id="b",
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        started_ms=1,
        details=ExecutionDetails(input="{}"),
    )
    return Invocation(
        invocation_id="i",
        execution_arn=ARN,
        function_name="steps",
        operations=(execution, *recorded),
    )


def least_us(recorded: Sequence[Operation] = ()) -> float:
    """Return the microseconds of CPU of one step."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        environment = InvocationEnvironment(invocation(recorded), Answering())
        begun_s = time.process_time()
        outcome = run_invocation(steps, environment)
        rounds.append(time.process_time() - begun_s)
        assert isinstance(outcome, Succeeded), outcome
    return min(rounds) / STEPS * 1e6


def main() -> None:
    """Print both figures."""
    checkpoints = Answering()
    run_invocation(steps, InvocationEnvironment(invocation(), checkpoints))
    print(f"a step: {least_us():.1f} µs")
    print(f"a replayed step: {least_us(list(checkpoints.operations.values())):.1f} µs")


if __name__ == "__main__":
    main()
