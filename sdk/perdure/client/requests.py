"""Requests of the client, built from the arguments of its methods.

Must stay true: a start always carries a name, because only a named start may be sent again.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.client.errors import InvalidArgumentError
from perdure_core.json_text import compact_json_text
from perdure_proto.v1 import client_pb2, model_pb2


class RegistrableSettings(Protocol):
    """What a decorator has set for a function."""

    @property
    def name(self) -> str:
        """The name that it is started by."""
        ...

    @property
    def execution_timeout_s(self) -> int:
        """How long an execution may take, in seconds."""
        ...

    @property
    def retention_days(self) -> int:
        """How long an execution is kept after its end."""
        ...

    @property
    def tenant_isolation(self) -> bool:
        """Whether each execution belongs to a tenant."""
        ...


class RegistrableFunction(Protocol):
    """A function as `durable_execution` or `plain_function` makes it."""

    @property
    def settings(self) -> RegistrableSettings:
        """Its name, and the defaults of its executions."""
        ...

    @property
    def durable(self) -> bool:
        """Whether its executions record operations."""
        ...


def start_request(  # noqa: PLR0913 - one parameter for each field
    function_name: str,
    execution_name: str,
    payload: Any,
    text: str | None,
    *,
    execution_timeout_s: int | None,
    retention_days: int | None,
    tenant_id: str | None = None,
    trace_header: str | None = None,
    accept_unknown: bool = False,
) -> client_pb2.StartExecutionRequest:
    """Build the request to start an execution, answered as soon as the start is durable."""
    with _refusing_invalid_fields():
        return client_pb2.StartExecutionRequest(
            function_name=function_name,
            execution_name=execution_name,
            input=payload_text(payload, text),
            execution_timeout_seconds=execution_timeout_s,
            retention_days=retention_days,
            tenant_id=tenant_id,
            trace_header=trace_header,
            accept_unknown=accept_unknown,
        )


def registration_request(
    functions: Iterable[RegistrableFunction],
) -> client_pb2.RegisterFunctionsRequest:
    """Build the request to register functions, as a worker that serves them would."""
    request = client_pb2.RegisterFunctionsRequest()
    for function in functions:
        settings = function.settings
        request.functions.add(
            function_name=settings.name,
            execution_timeout_seconds=settings.execution_timeout_s,
            retention_days=settings.retention_days,
            durable=function.durable,
            tenant_isolation=settings.tenant_isolation,
        )
    return request


def list_request(  # noqa: PLR0913 - one parameter for each filter
    *,
    function_name: str | None,
    execution_name: str | None,
    execution_name_prefix: str | None,
    statuses: Iterable[str],
    started_after: datetime | None,
    started_before: datetime | None,
    oldest_first: bool,
    page_items: int,
    marker: str,
) -> client_pb2.ListExecutionsRequest:
    """Build the request for one page of executions."""
    with _refusing_invalid_fields():
        return client_pb2.ListExecutionsRequest(
            function_name=_filter("function_name", function_name),
            execution_name=_filter("name", execution_name),
            execution_name_prefix=_filter("name_prefix", execution_name_prefix),
            statuses=list(statuses),
            started_after=_timestamp(started_after),
            started_before=_timestamp(started_before),
            reverse_order=oldest_first,
            max_items=page_items,
            marker=marker,
        )


def error_message(
    error_type: str | None,
    error_message: str | None,
    error_data: str | None,
    stack_trace: Iterable[str],
) -> model_pb2.ErrorObject | None:
    """Build the error that a caller passes as the reason; None when it passes none."""
    lines = list(stack_trace)
    if error_type is None and error_message is None and error_data is None and not lines:
        return None
    return model_pb2.ErrorObject(
        error_type=error_type,
        error_message=error_message,
        error_data=error_data,
        stack_trace=lines,
    )


def payload_text(value: Any, text: str | None) -> str | None:
    """Return the payload to send: the text unchanged, or the value as JSON, or None for None.

    Keys keep their order, so that the same call sends the same text and a repeated start is equal.
    """
    if text is not None:
        if value is not None:
            raise InvalidArgumentError("the payload must be a value or a text, got both")
        return text
    if value is None:
        return None
    try:
        return compact_json_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"the payload must be JSON: {error}") from error


def _filter(field: str, value: str | None) -> str:
    """Return a filter as the message holds it, where an empty one stands for none."""
    if value == "":
        raise InvalidArgumentError(
            f"{field} must be at least 1 character, got ''. Leave it out to list all."
        )
    return value or ""


@contextmanager
def _refusing_invalid_fields() -> Generator[None]:
    """Raise `InvalidArgumentError` for what protobuf refuses, such as a number beyond 32 bits."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(str(error)) from error


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
