"""The rules of a wait: START is durable, then time passes, whatever happens to this process.

    no record ── START ──> STARTED ── due ────> SUCCEEDED
                             └────── CANCEL ──> CANCELLED

A wait that was created, not called, is awaited later or not at all, and may be cancelled. Then its
result raises, as that of a callback does.
"""

from datetime import timedelta

from perdure.exceptions import ValidationError, WaitCancelledError
from perdure.operations.identity import Identity
from perdure.operations.program import Program, Replayed, ReplayEnded, Resumed, commit, suspend
from perdure.primitives.duration import Duration, duration_of, in_words
from perdure.serdes.error_records import operation_error
from perdure_core.limits import WAIT_MS_MAX
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    WaitDetails,
)


def check_wait(duration: Duration | timedelta) -> int:
    """Return the wait in milliseconds; raise `ValidationError` outside 1 ms to 366 days."""
    wait_ms = duration_of(duration, "The duration of a wait").to_milliseconds()
    if not 1 <= wait_ms <= WAIT_MS_MAX:
        raise ValidationError(
            f"The duration of a wait must be 1 ms to {in_words(WAIT_MS_MAX)}, got"
            f" {in_words(wait_ms)}."
        )
    return wait_ms


def wait(identity: Identity, recorded: Operation | None, wait_ms: int) -> Program[None]:
    """Return when the wait is over. A recorded wait keeps its length, also if the code changed."""
    operation = recorded
    if operation is None:
        operation = yield from _start(identity, wait_ms)
    elif operation.status is not OperationStatus.STARTED:
        yield Replayed()
    yield from wait_result(identity, operation)


def create_wait(identity: Identity, recorded: Operation | None, wait_ms: int) -> Program[None]:
    """Start a wait, and return when its start is durable."""
    if recorded is not None:
        yield Replayed()
        return
    yield from _start(identity, wait_ms)


def wait_result(identity: Identity, operation: Operation) -> Program[None]:
    """Return when the wait is over; raise `WaitCancelledError` when it was cancelled."""
    operation = yield from _until_ended(identity, operation)
    yield Resumed()
    if operation.status is OperationStatus.CANCELLED:
        message = f"{identity.describe()} was cancelled."
        raise operation_error(WaitCancelledError, ErrorObject(message, "Wait.Cancelled"))


def cancel_wait(identity: Identity, operation: Operation) -> Program[bool]:
    """Cancel the wait; return whether it is cancelled, False if it was over before."""
    if operation.status is OperationStatus.STARTED:
        yield ReplayEnded()
        operation = yield from commit(identity.update(OperationAction.CANCEL))
    else:
        yield Replayed()
    # A wait that is over may still seem open here, if the last answer was full without it.
    operation = yield from _until_ended(identity, operation)
    return operation.status is OperationStatus.CANCELLED


def _start(identity: Identity, wait_ms: int) -> Program[Operation]:
    yield ReplayEnded()
    return (yield from commit(identity.update(OperationAction.START, wait_ms=wait_ms)))


def _until_ended(identity: Identity, operation: Operation) -> Program[Operation]:
    while operation.status is OperationStatus.STARTED:
        operation = yield from suspend(operation, f"{identity.describe()} runs", _end_ms(operation))
    return operation


def _end_ms(operation: Operation) -> int | None:
    details = operation.details
    return details.scheduled_end_ms if isinstance(details, WaitDetails) else None
