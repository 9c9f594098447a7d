"""The rules of a child context: a body with durable calls, recorded as one operation.

    no record ── START ──> STARTED ── SUCCEED ──> SUCCEEDED
                             └────── FAIL ──────> FAILED

START is sent, the close is awaited. A result too large to record is recorded as a summary; a replay
then runs the body again over its recorded children. A *virtual* context records nothing itself: its
body runs in every replay. Semantics are those of the AWS Lambda durable execution SDK
for Python 3.0 (operation.child).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.exceptions import (
    ChildContextError,
    ExecutionError,
    InvocationError,
    NonDeterministicExecutionError,
)
from perdure.operations.identity import Identity
from perdure.operations.program import (
    Program,
    Replayed,
    ReplayEnded,
    Resumed,
    RunChild,
    Send,
    commit,
)
from perdure.operations.step import check_size
from perdure.primitives.user_code import raised_error, repr_of
from perdure.serdes.error_records import error_record, operation_error
from perdure.serdes.serializers import Payloads
from perdure_core.model import (
    ContextDetails,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationUpdate,
)
from perdure_core.payload import bytes_of, text_of


@dataclass(frozen=True)
class ChildPlan:
    """A child context's configuration with every default filled in."""

    payloads: Payloads
    summarize: Callable[[Any], str] | None = None
    virtual: bool = False
    failure: Callable[[BaseException], ErrorObject] = error_record


def child(
    identity: Identity,
    recorded: Operation | None,
    plan: ChildPlan,
    body: Callable[[], Any],
    result_bytes_max: int,
) -> Program[Any]:
    """Return the value of `body`, from the record or by running it.

    A result of more than `result_bytes_max` is rebuilt from the children.
    Raises `ChildContextError` when the body has raised an exception, `SerDesError` when it raised
    that, or its value could not be written or read.
    """
    if plan.virtual:
        return (yield from _virtual(plan, body))
    if recorded is not None and recorded.status is not OperationStatus.STARTED:
        return (yield from _ended(identity, recorded, plan, body))
    if recorded is None:
        yield ReplayEnded()
        yield Send(identity.update(OperationAction.START))
    try:
        value = yield RunChild(body)
        payload = plan.payloads.write(value)
        result = plan.payloads.read(payload)
    except Exception as error:  # noqa: BLE001 - whatever a body raises is recorded
        return (yield from _fail(identity, plan, error))
    yield ReplayEnded()
    yield from commit(_success(identity, plan, payload, result, result_bytes_max))
    return result


def context_details(operation: Operation) -> ContextDetails:
    """Return the details of a recorded context."""
    details = operation.details
    if not isinstance(details, ContextDetails):
        raise InvocationError(
            f"Operation {operation.id} is recorded with details of another type, not as a context."
        )
    return details


def large_result_summary(operation: Operation | None) -> str | None:
    """Return the summary of a result that must be rebuilt; None if there is no such result."""
    if operation is None or operation.status is not OperationStatus.SUCCEEDED:
        return None
    details = context_details(operation)
    return text_of(details.result) or "" if details.replay_children else None


def _virtual(plan: ChildPlan, body: Callable[[], Any]) -> Program[Any]:
    try:
        value = yield RunChild(body)
        result = plan.payloads.read(plan.payloads.write(value))
    except Exception as error:  # noqa: BLE001 - errors of a body are raised as recorded ones
        _raise_if_fatal(error)
        failure = error_record(raised_error(error))
    else:
        yield Resumed()
        return result
    raise operation_error(ChildContextError, failure)


def _ended(
    identity: Identity, operation: Operation, plan: ChildPlan, body: Callable[[], Any]
) -> Program[Any]:
    yield Replayed()
    details = context_details(operation)
    if operation.status is not OperationStatus.SUCCEEDED:
        raise operation_error(ChildContextError, details.error)
    if not details.replay_children:
        return plan.payloads.read(text_of(details.result))
    try:
        value = yield RunChild(body)
    except Exception as error:
        _raise_if_fatal(error)
        raise NonDeterministicExecutionError(
            f"{identity.describe()} succeeded before, but raised {repr_of(raised_error(error))}"
            " when it was re-run to rebuild its result.",
            identity.id,
        ) from error
    return plan.payloads.rebuild(value)


def _fail(identity: Identity, plan: ChildPlan, error: Exception) -> Program[Any]:
    _raise_if_fatal(error)
    failure = plan.failure(raised_error(error))
    yield ReplayEnded()
    yield from commit(identity.update(OperationAction.FAIL, error=failure))
    raise operation_error(ChildContextError, failure)


def _success(
    identity: Identity, plan: ChildPlan, payload: str | None, result: Any, result_bytes_max: int
) -> OperationUpdate:
    large = payload is not None and bytes_of(payload) > result_bytes_max
    if large:
        payload = "" if plan.summarize is None else plan.summarize(result)
        check_size(identity, payload)
    return identity.update(OperationAction.SUCCEED, payload=payload, replay_children=large)


def _raise_if_fatal(error: Exception) -> None:
    """Raise `error` if it concerns more than this context: the execution or the invocation."""
    if isinstance(error, ExecutionError):
        raise error
    if isinstance(error, InvocationError) and error.is_retryable():
        raise error
