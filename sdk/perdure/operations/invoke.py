"""The rules of a chained invoke: START is durable, then another function runs as an execution.

Its end is recorded here, however long it takes and whatever happens to this process.
"""

from collections.abc import Callable

from perdure.exceptions import InvocationError, InvokeError, ValidationError
from perdure.operations.identity import Identity
from perdure.operations.program import Program, Replayed, ReplayEnded, Resumed, commit, suspend
from perdure.operations.step import check_size
from perdure.serdes.error_records import operation_error
from perdure_core.model import (
    OPERATION_OPEN,
    ChainedInvokeDetails,
    Operation,
    OperationAction,
    OperationStatus,
)
from perdure_core.payload import text_of
from perdure_core.refusals import Invalid
from perdure_host.lambda_json.names import target_name


def invoke(
    identity: Identity,
    recorded: Operation | None,
    function: str,
    payload: Callable[[], str | None],
    tenant_id: str | None,
) -> Program[str | None]:
    """Return what the function returned, as text. `payload` is called only when it starts.

    Raises `InvokeError` when it ended in any other way (`SerDesError`, when it failed with one),
    `ExecutionError` for an input above the bound, before anything is recorded.
    """
    operation = recorded
    if operation is None:
        yield ReplayEnded()
        written = payload()
        check_size(identity, written, "input")
        start = identity.update(
            OperationAction.START, function=function, payload=written, tenant_id=tenant_id
        )
        operation = yield from commit(start)
    elif operation.status not in OPERATION_OPEN:
        yield Replayed()
    while operation.status in OPERATION_OPEN:
        operation = yield from suspend(operation, f"{identity.describe()} runs")
    yield Resumed()
    details = _details(operation)
    if operation.status is OperationStatus.SUCCEEDED:
        return text_of(details.result)
    raise operation_error(InvokeError, details.error)


def target_of(function_name: str) -> str:
    """Return the plain name of a function that is named in any accepted form.

    Raises `ValidationError` when no function can have the name.
    """
    if not isinstance(function_name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ValidationError(
            "context.invoke() must be given the name of a function, got"
            f" {type(function_name).__name__}."
        )
    try:
        return target_name(function_name)
    except Invalid as error:
        raise ValidationError(str(error)) from None


def _details(operation: Operation) -> ChainedInvokeDetails:
    details = operation.details
    if not isinstance(details, ChainedInvokeDetails):
        raise InvocationError(
            f"Operation {operation.id} is recorded with details of another type, not as an invoke."
        )
    return details
