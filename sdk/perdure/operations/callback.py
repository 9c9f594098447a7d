"""The rules of a callback: its start is recorded at once, its result is awaited later.

Creating one never raises for how it ended: awaiting the result does.
"""

from msgspec.structs import replace

from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackTimeoutError,
    InvocationError,
)
from perdure.operations.identity import Identity
from perdure.operations.program import Program, Replayed, ReplayEnded, Resumed, commit, suspend
from perdure.serdes.error_records import operation_error
from perdure.settings.operations import CallbackConfig
from perdure_core.model import (
    OPERATION_OPEN,
    CallbackDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
)
from perdure_core.payload import text_of

_ERRORS = {
    OperationStatus.FAILED: CallbackExternalError,
    OperationStatus.TIMED_OUT: CallbackTimeoutError,
}


def create_callback(
    identity: Identity, recorded: Operation | None, config: CallbackConfig
) -> Program[str]:
    """Return the callback's id, which the service assigns when the start is durable."""
    if recorded is not None:
        yield Replayed()
        return callback_details(recorded).callback_id
    yield ReplayEnded()
    start = identity.update(
        OperationAction.START,
        timeout_s=config.timeout_seconds,
        heartbeat_timeout_s=config.heartbeat_timeout_seconds,
    )
    created = yield from commit(start)
    return callback_details(created).callback_id


def callback_result(identity: Identity, operation: Operation) -> Program[str | None]:
    """Return the result of the callback as text; raise a `CallbackError` for any other end."""
    while operation.status in OPERATION_OPEN:
        operation = yield from suspend(operation, f"{identity.describe()} is open")
    yield Resumed()
    details = callback_details(operation)
    if operation.status is OperationStatus.SUCCEEDED:
        return text_of(details.result)
    raise operation_error(_ERRORS.get(operation.status, CallbackError), _failure(operation))


def _failure(operation: Operation) -> ErrorObject:
    """Return why it ended; the client that fails a callback need not send a message."""
    recorded = callback_details(operation).error or ErrorObject()
    if recorded.message is not None:
        return recorded
    status = operation.status.lower().replace("_", " ")
    return replace(recorded, message=f"The callback is {status}, without a message.")


def callback_details(operation: Operation) -> CallbackDetails:
    """Return the details of a recorded callback."""
    details = operation.details
    if not isinstance(details, CallbackDetails):
        raise InvocationError(
            f"Operation {operation.id} is recorded with details of another type, not as a callback."
        )
    return details
