"""The rules of a wait: START is durable, then time passes, whatever happens to this process."""

from perdure.config import Duration
from perdure.exceptions import ValidationError
from perdure.identity import Identity
from perdure.program import Live, Program, Replayed, Resumed, commit, suspend
from perdure_core.limits import WAIT_MS_MAX
from perdure_core.model import Operation, OperationAction, OperationStatus, WaitDetails


def check_wait(duration: Duration) -> int:
    """Return the wait in milliseconds; raise `ValidationError` outside 1 ms to 366 days."""
    wait_ms = duration.to_milliseconds()
    if not 1 <= wait_ms <= WAIT_MS_MAX:
        raise ValidationError(f"A wait lasts 1 to {WAIT_MS_MAX:,} ms: {wait_ms:,} ms asked for.")
    return wait_ms


def wait(identity: Identity, recorded: Operation | None, wait_ms: int) -> Program[None]:
    """Return when the wait is over. A recorded wait keeps its length, whatever the code says."""
    operation = recorded
    if operation is None:
        yield Live()
        operation = yield from commit(identity.update(OperationAction.START, wait_ms=wait_ms))
    elif operation.status is not OperationStatus.STARTED:
        yield Replayed()
    while operation.status is OperationStatus.STARTED:
        operation = yield from suspend(operation, f"{identity.describe()} runs", _end_ms(operation))
    yield Resumed()


def _end_ms(operation: Operation) -> int | None:
    details = operation.details
    return details.scheduled_end_ms if isinstance(details, WaitDetails) else None
