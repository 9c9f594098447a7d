"""Attributes and status of spans. Names are those of the AWS package."""

from typing import Final

from opentelemetry.trace import Span, StatusCode

from perdure.plugins.hooks import (
    InvocationEndInfo,
    InvocationStatus,
    OperationInfo,
    OperationType,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)
from perdure_core.model import ErrorObject, OperationStatus

TRUNCATED: Final = "durable.span.truncated_at_invocation_boundary"
SYNTHETIC: Final = "durable.execution.synthetic_root"

Attributes = dict[str, str | bool | int]


def of_execution(execution_arn: str) -> Attributes:
    """Return the attributes of every span."""
    return {"durable.execution.arn": execution_arn}


def of_operation(execution_arn: str, info: OperationInfo) -> Attributes:
    """Return the attributes of the span of an operation."""
    status: Attributes = {"durable.operation.status": info.status.value}
    return _named(execution_arn, info) | status | _attempt(info)


def of_attempt(execution_arn: str, info: UserFunctionStartInfo | UserFunctionEndInfo) -> Attributes:
    """Return the attributes of the span of one call of a step's function, or of a check."""
    attributes = _named(execution_arn, info) | _attempt(info)
    if isinstance(info, UserFunctionEndInfo):
        attributes["durable.attempt.outcome"] = info.outcome.value
    return attributes


def name_of(info: OperationInfo) -> str:
    """Return the name of an operation's span: the name of the operation, or else its id."""
    return info.name or info.operation_id


def set_outcome(span: Span, error: ErrorObject | None, *, succeeded: bool) -> None:
    """Set the status of a span: ERROR, OK, or none."""
    if error is not None:
        span.set_status(StatusCode.ERROR, error.message or error.type or "")
        span.add_event("exception", _exception(error))
    elif succeeded:
        span.set_status(StatusCode.OK)


def set_operation_outcome(span: Span, info: OperationInfo) -> None:
    """Set the status of the span of an operation."""
    set_outcome(span, info.error, succeeded=info.status is OperationStatus.SUCCEEDED)


def set_invocation_outcome(span: Span, info: InvocationEndInfo) -> None:
    """Set the status of an invocation's span; none if the invocation is retried."""
    retried = info.status is InvocationStatus.RETRY
    span.set_attribute("durable.invocation.status", "RETRYING" if retried else info.status.value)
    if not retried:
        failed = info.status is InvocationStatus.FAILED
        set_outcome(span, info.error if failed else None, succeeded=not failed)


def _named(execution_arn: str, info: OperationInfo) -> Attributes:
    attributes = of_execution(execution_arn)
    attributes["durable.operation.id"] = info.operation_id
    attributes["durable.operation.type"] = info.operation_type.value
    if info.sub_type is not None:
        attributes["durable.operation.subtype"] = info.sub_type
    if info.name is not None:
        attributes["durable.operation.name"] = info.name
    return attributes


def _attempt(info: OperationInfo) -> Attributes:
    if info.operation_type is not OperationType.STEP or info.attempt is None:
        return {}
    return {"durable.attempt.number": info.attempt}


def _exception(error: ErrorObject) -> Attributes:
    """Return the attributes of an error by OpenTelemetry's conventions for exceptions on spans."""
    attributes = {
        "exception.type": error.type,
        "exception.message": error.message,
        "exception.stacktrace": "\n".join(error.stack_trace),
    }
    return {name: text for name, text in attributes.items() if text}
