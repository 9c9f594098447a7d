"""The form of a request to start an execution, for every API alike.

A start is checked before its function is looked up: a malformed name is refused as malformed, and
not as unknown.
"""

from typing import Final, Protocol

import msgspec

from perdure_core import limits
from perdure_core.refusals import Invalid
from perdure_core.validation import (
    check_client_context,
    check_identifier,
    check_namespace,
    check_payload,
    check_tenant,
    check_trace_header,
)


class StartForm(Protocol):
    """A start, with the fields that the caller may leave out."""

    @property
    def namespace(self) -> str: ...
    @property
    def function(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def input(self) -> str | None: ...
    @property
    def timeout_s(self) -> int | None: ...
    @property
    def retention_days(self) -> int | None: ...
    @property
    def tenant_id(self) -> str | None: ...
    @property
    def trace_header(self) -> str | None: ...
    @property
    def client_context(self) -> str | None: ...


class StartFields(msgspec.Struct, frozen=True, kw_only=True):
    """The name of each field in the caller's API, for error messages."""

    function: str = "function name"
    name: str = "execution name"
    input: str = "input"
    timeout_s: str = "execution timeout in seconds"
    retention_days: str = "retention in days"
    tenant_id: str = "tenant id"
    trace_header: str = "trace header"
    client_context: str = "client context"


START_FIELDS: Final = StartFields()


def check_start(start: StartForm, fields: StartFields = START_FIELDS) -> None:
    """Raise Invalid unless every field of the start is well-formed and within its bound."""
    check_namespace(start.namespace)
    check_identifier(fields.function, start.function, limits.FUNCTION_NAME_CHARS_MAX)
    if start.name is not None:
        check_identifier(fields.name, start.name, limits.EXECUTION_NAME_CHARS_MAX)
    check_payload(fields.input, start.input)
    check_tenant(fields.tenant_id, start.tenant_id)
    check_trace_header(fields.trace_header, start.trace_header)
    check_client_context(fields.client_context, start.client_context)
    _check_range(fields.timeout_s, start.timeout_s, limits.EXECUTION_TIMEOUT_S_MAX)
    _check_range(fields.retention_days, start.retention_days, limits.RETENTION_DAYS_MAX)


def _check_range(field: str, value: int | None, value_max: int) -> None:
    if value is not None and not 1 <= value <= value_max:
        raise Invalid(f"{field} must be 1 to {value_max:,}, got {value:,}")
