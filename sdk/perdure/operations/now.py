"""The rules of asking what time it is: once, by the service's clock, and on the record.

It is a step without a body. Its answer is when the service recorded that the step succeeded, which
nobody but the service knows, and which is durable before anybody hears it.
"""

from datetime import datetime

from perdure.exceptions import InvocationError
from perdure.operations.identity import Identity
from perdure.operations.program import Program, Replayed, ReplayEnded, Send, commit
from perdure_core.model import OPERATION_OPEN, Operation, OperationAction
from perdure_core.timestamps import from_epoch_ms


def now(identity: Identity, recorded: Operation | None) -> Program[datetime]:
    """Return the moment at which this was first asked for, in UTC, to the millisecond."""
    operation = recorded
    if operation is None or operation.status in OPERATION_OPEN:
        yield ReplayEnded()
        if operation is None:
            yield Send(identity.update(OperationAction.START))
        operation = yield from commit(identity.update(OperationAction.SUCCEED))
    else:
        yield Replayed()
    if operation.ended_ms is None:
        raise InvocationError(f"The record of {identity.describe()} does not say when it ended.")
    return from_epoch_ms(operation.ended_ms)
