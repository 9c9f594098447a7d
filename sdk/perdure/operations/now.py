"""The rules of the recorded clock: the service's time, read once and the same in every replay.

It is a step without a body. Its value is when the service recorded that the step succeeded, so it
is durable before the handler sees it.
"""

from datetime import datetime

from perdure.exceptions import InvocationError
from perdure.operations.identity import Identity
from perdure.operations.program import Program, Replayed, ReplayEnded, Send, commit
from perdure_core.model import OPERATION_OPEN, Operation, OperationAction
from perdure_core.timestamps import from_epoch_ms


def now(identity: Identity, recorded: Operation | None) -> Program[datetime]:
    """Return when this was first called, in UTC, to the millisecond."""
    operation = recorded
    if operation is None or operation.status in OPERATION_OPEN:
        yield ReplayEnded()
        if operation is None:
            yield Send(identity.update(OperationAction.START))
        operation = yield from commit(identity.update(OperationAction.SUCCEED))
    else:
        yield Replayed()
    if operation.ended_ms is None:
        raise InvocationError(
            f"{identity.describe()} is recorded without the time at which it ended."
        )
    return from_epoch_ms(operation.ended_ms)
