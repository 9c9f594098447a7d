"""Validation of requests, whatever the state: charsets, lengths, sizes, fields that go together.

Bounds are those of `limits.py`; every message names the offending thing and the bound. Labels are
checked only when an operation is new: later updates must repeat what was recorded.
"""

import re
from typing import Final

from perdure_core import limits
from perdure_core.model import (
    ACTIONS_OPEN,
    ErrorObject,
    OperationAction,
    OperationType,
    OperationUpdate,
)
from perdure_core.payload import StoredPayload, bytes_of
from perdure_core.refusals import Invalid
from perdure_core.text import cut_bytes, preview

_NAMESPACE: Final = re.compile(r"[a-z0-9-]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]+")
# The one version name of the Lambda API that is not an identifier, apart from $LATEST.
_PUBLISHED: Final = "$LATEST.PUBLISHED"
_TENANT_ID: Final = re.compile(rf"[A-Za-z0-9._:/=+\-@ ]{{1,{limits.TENANT_ID_CHARS_MAX}}}")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_WORKER_ID: Final = re.compile(rf"[A-Za-z0-9\-_.:@]{{1,{limits.WORKER_ID_CHARS_MAX}}}")
_CLIENT_TOKEN: Final = re.compile(r"[\x21-\x7e]+")

_ACTIONS: Final[dict[OperationType, frozenset[OperationAction]]] = {
    OperationType.EXECUTION: frozenset({OperationAction.SUCCEED, OperationAction.FAIL}),
    OperationType.CONTEXT: frozenset(
        {OperationAction.START, OperationAction.SUCCEED, OperationAction.FAIL}
    ),
    OperationType.STEP: frozenset(
        {
            OperationAction.START,
            OperationAction.SUCCEED,
            OperationAction.FAIL,
            OperationAction.RETRY,
            OperationAction.HEARTBEAT,
        }
    ),
    OperationType.WAIT: frozenset({OperationAction.START, OperationAction.CANCEL}),
    OperationType.CALLBACK: frozenset({OperationAction.START}),
    OperationType.CHAINED_INVOKE: frozenset({OperationAction.START}),
}


def is_function_name(value: str) -> bool:
    """Return whether the value can name a function."""
    return _is_identifier(value, limits.FUNCTION_NAME_CHARS_MAX)


def is_worker_id(value: str) -> bool:
    """Return whether the value can name a worker process."""
    return _WORKER_ID.fullmatch(value) is not None


def check_namespace(value: str) -> None:
    """Raise Invalid unless the value may stand in an ARN."""
    if len(value) > limits.NAMESPACE_CHARS_MAX or _NAMESPACE.fullmatch(value) is None:
        raise Invalid(
            f"namespace {preview(value)} must be 1 to {limits.NAMESPACE_CHARS_MAX} of a-z 0-9 -"
        )


def check_identifier(what: str, value: str, chars_max: int) -> None:
    """Raise Invalid unless value is 1 to chars_max characters of [A-Za-z0-9_-]."""
    if not _is_identifier(value, chars_max):
        raise Invalid(f"{what} {preview(value)} must be 1 to {chars_max} of A-Z a-z 0-9 _ -")


def check_tenant(what: str, tenant: str | None) -> None:
    """Raise Invalid unless the tenant id is absent or well-formed (Lambda API model: TenantId)."""
    if tenant is not None and _TENANT_ID.fullmatch(tenant) is None:
        raise Invalid(
            f"{what} {preview(tenant)} must be 1 to {limits.TENANT_ID_CHARS_MAX} of"
            " A-Z a-z 0-9 . _ : / = + - @ and spaces"
        )


def check_tenancy(tenant: str | None, *, isolated: bool) -> None:
    """Raise Invalid unless a tenant is named exactly when the function keeps tenants apart."""
    if isolated and tenant is None:
        raise Invalid(
            "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in"
            " your request and try again."
        )
    if not isolated and tenant is not None:
        raise Invalid(
            "The invoked function is not enabled with tenancy configuration. Remove the tenant ID"
            " from your request and try again."
        )


def check_trace_header(what: str, header: str | None) -> None:
    """Raise Invalid unless the trace header is absent or within its bound."""
    if header is not None and not 1 <= len(header) <= limits.TRACE_HEADER_CHARS_MAX:
        raise Invalid(
            f"{what} {preview(header)} must be 1 to {limits.TRACE_HEADER_CHARS_MAX:,} characters"
        )


def check_client_context(what: str, context: str | None) -> None:
    """Raise Invalid unless the client context, in base64, is absent or within its bound."""
    if context is not None and not 1 <= len(context) <= limits.CLIENT_CONTEXT_CHARS_MAX:
        raise Invalid(
            f"{what} is {len(context):,} characters of base64;"
            f" 1 to {limits.CLIENT_CONTEXT_CHARS_MAX:,} are allowed"
        )


def error_bytes(error: ErrorObject) -> int:
    """Return the size of all fields in bytes of UTF-8, and of the part outside the record."""
    fields = (error.message, error.type, error.data, error.kept, *error.stack_trace)
    return sum(map(bytes_of, fields))


def check_payload(
    what: str, payload: str | None, bytes_max: int = limits.PAYLOAD_BYTES_MAX
) -> None:
    """Raise Invalid when the payload is larger than the bound, in bytes of UTF-8."""
    size = bytes_of(payload)
    if size > bytes_max:
        raise Invalid(f"{what} is {size:,} bytes; at most {bytes_max:,} are allowed")


def check_error(what: str, error: ErrorObject | None) -> None:
    """Raise Invalid when the error's fields are larger than the bound together."""
    size = 0 if error is None else error_bytes(error)
    if size > limits.ERROR_BYTES_MAX:
        raise Invalid(f"{what} is {size:,} bytes; at most {limits.ERROR_BYTES_MAX:,} are allowed")


def bounded_error(error: ErrorObject) -> ErrorObject:
    """Return the error, cut to the bound if it is larger: a failure must always be reported.

    A larger one loses its stack trace and the ends of its texts.
    """
    if error_bytes(error) <= limits.ERROR_BYTES_MAX:
        return error
    field_bytes_max = limits.ERROR_BYTES_MAX // 4
    return ErrorObject(
        message=cut_bytes(error.message, field_bytes_max),
        type=cut_bytes(error.type, field_bytes_max),
        data=cut_bytes(error.data, field_bytes_max),
    )


def beginning_of(error: ErrorObject, reference: StoredPayload) -> ErrorObject:
    """Return what the record holds of a large error: its beginning, and the reference to it."""
    field_bytes_max = limits.ERROR_INLINE_BYTES_MAX // 32
    return ErrorObject(
        message=cut_bytes(error.message, field_bytes_max),
        type=cut_bytes(error.type, field_bytes_max),
        kept=reference,
    )


def check_client_token(token: str) -> None:
    """Raise Invalid unless it is 1 to 64 printable characters without blanks."""
    if len(token) > limits.CLIENT_TOKEN_CHARS_MAX or _CLIENT_TOKEN.fullmatch(token) is None:
        raise Invalid(
            f"client token {preview(token)} must be 1 to {limits.CLIENT_TOKEN_CHARS_MAX} printable"
            " ASCII characters"
        )


def check_batch(updates: tuple[OperationUpdate, ...]) -> None:
    """Raise Invalid unless the batch is well-formed as a whole and in each update.

    Labels are left to `check_labels`, which only new operations must pass.
    """
    if len(updates) > limits.CHECKPOINT_UPDATES_MAX:
        raise Invalid(
            f"a checkpoint of {len(updates):,} updates;"
            f" at most {limits.CHECKPOINT_UPDATES_MAX:,} are allowed"
        )
    last = len(updates) - 1
    size = 0
    for position, update in enumerate(updates):
        if update.type is OperationType.EXECUTION and position != last:
            raise Invalid("an EXECUTION update must be the last of its checkpoint")
        size += _check_update(update)
    if size > limits.CHECKPOINT_BYTES_MAX:
        raise Invalid(
            f"a checkpoint of {size:,} bytes; at most {limits.CHECKPOINT_BYTES_MAX:,} are allowed"
        )
    _check_repeats(updates)


def check_labels(update: OperationUpdate) -> None:
    """Raise Invalid unless id, parent id, sub-type and name are well-formed."""
    check_identifier("operation id", update.id, limits.OPERATION_ID_CHARS_MAX)
    for what, label, chars_max in (
        ("parent id", update.parent_id, limits.OPERATION_ID_CHARS_MAX),
        ("sub-type", update.sub_type, limits.SUB_TYPE_CHARS_MAX),
    ):
        if label is not None and not _is_identifier(label, chars_max):
            check_identifier(f"{what} of operation {update.id!r}", label, chars_max)
    name = update.name
    if name is not None and (
        len(name) > limits.OPERATION_NAME_CHARS_MAX or _PRINTABLE.fullmatch(name) is None
    ):
        raise Invalid(
            f"name {preview(name)} of operation {update.id!r} must be 1 to"
            f" {limits.OPERATION_NAME_CHARS_MAX} printable ASCII characters"
        )


def _check_update(update: OperationUpdate) -> int:
    """Return the size of what the update carries, in bytes. Raises Invalid."""
    if update.action not in _ACTIONS[update.type]:
        raise Invalid(
            f"a {update.type} cannot {update.action} by checkpoint (operation {preview(update.id)})"
        )
    _check_options(update)
    return _check_outcome(update) + bytes_of(update.trace_header)


def _check_outcome(update: OperationUpdate) -> int:
    size = 0
    payload, error = update.payload, update.error
    if payload is not None:
        size = bytes_of(payload)
        is_details = update.action is OperationAction.HEARTBEAT
        bytes_max = limits.HEARTBEAT_DETAILS_BYTES_MAX if is_details else limits.PAYLOAD_BYTES_MAX
        if size > bytes_max:
            check_payload(f"payload in {_where(update)}", payload, bytes_max)
        if update.action is OperationAction.FAIL:
            raise Invalid(f"{_where(update)} must not carry a payload")
    if error is not None:
        check_error(f"error in {_where(update)}", error)
        size += error_bytes(error)
        if update.action in (OperationAction.SUCCEED, OperationAction.HEARTBEAT):
            raise Invalid(f"{_where(update)} must not carry an error")
        if payload is not None and update.action is OperationAction.RETRY:
            raise Invalid(f"{_where(update)} must not carry both an error and a payload")
    return size


def _check_options(update: OperationUpdate) -> None:
    """Raise Invalid unless each option is used only where it is read, and within its bounds."""
    retries = update.action is OperationAction.RETRY
    if retries or update.next_attempt_delay_ms is not None:
        _check_duration("next attempt delay", update.next_attempt_delay_ms, update, allowed=retries)
    if update.duration_ms is not None:
        _check_body_duration(update.duration_ms, update)
    waits = update.type is OperationType.WAIT and update.action is OperationAction.START
    if waits or update.wait_ms is not None:
        _check_duration("wait duration", update.wait_ms, update, allowed=waits)
    if update.timeout_s or update.heartbeat_timeout_s:
        _check_timeouts(update)
    chains = update.type is OperationType.CHAINED_INVOKE
    invokes = (update.function, update.tenant_id, update.trace_header) != (None, None, None)
    if chains or invokes:
        _check_target(update, allowed=chains)
    if update.replay_children and not (
        update.type is OperationType.CONTEXT and update.action is OperationAction.SUCCEED
    ):
        raise Invalid(f"{_where(update)} must not set replay_children")


def _check_duration(
    what: str, value_ms: int | None, update: OperationUpdate, *, allowed: bool
) -> None:
    if value_ms is None:
        raise Invalid(f"{_where(update)} needs a {what}")
    if not allowed:
        raise Invalid(f"{_where(update)} must not carry a {what}")
    if not 1 <= value_ms <= limits.WAIT_MS_MAX:
        raise Invalid(
            f"{what} in {_where(update)} is {value_ms:,} ms;"
            f" 1 to {limits.WAIT_MS_MAX:,} are allowed"
        )


def _check_body_duration(value_ms: int, update: OperationUpdate) -> None:
    ends = (OperationAction.SUCCEED, OperationAction.FAIL, OperationAction.RETRY)
    if update.type is not OperationType.STEP or update.action not in ends:
        raise Invalid(f"{_where(update)} must not carry the duration of a body")
    if not 0 <= value_ms <= limits.WAIT_MS_MAX:
        raise Invalid(
            f"duration in {_where(update)} is {value_ms:,} ms;"
            f" 0 to {limits.WAIT_MS_MAX:,} are allowed"
        )


def _check_timeouts(update: OperationUpdate) -> None:
    if update.type is not OperationType.CALLBACK:
        raise Invalid(f"{_where(update)} must not carry callback options")
    for what, seconds in (
        ("timeout", update.timeout_s),
        ("heartbeat timeout", update.heartbeat_timeout_s),
    ):
        if not 0 <= seconds <= limits.CALLBACK_TIMEOUT_S_MAX:
            raise Invalid(
                f"{what} in {_where(update)} is {seconds:,} s;"
                f" 0 to {limits.CALLBACK_TIMEOUT_S_MAX:,} are allowed"
            )


def _check_target(update: OperationUpdate, *, allowed: bool) -> None:
    if not allowed:
        raise Invalid(f"{_where(update)} must not carry chained invoke options")
    if update.function is None:
        raise Invalid(f"{_where(update)} needs chained invoke options with a function name")
    name, colon, version = update.function.partition(":")
    check_identifier(f"function name in {_where(update)}", name, limits.FUNCTION_NAME_CHARS_MAX)
    # No function name has a version: the operation records the requested one, and fails.
    if colon and version != _PUBLISHED:
        check_identifier(f"version in {_where(update)}", version, limits.FUNCTION_VERSION_CHARS_MAX)
    check_tenant(f"tenant id in {_where(update)}", update.tenant_id)
    check_trace_header(f"trace header in {_where(update)}", update.trace_header)


def _check_repeats(updates: tuple[OperationUpdate, ...]) -> None:
    """Raise Invalid when an id appears twice, but for START and then a close of a STEP or CONTEXT.

    Heartbeats of a STEP may come between the two, and before a close alone.
    """
    # None once the id must not appear again.
    seen: dict[str, OperationUpdate | None] = {}
    for update in updates:
        if update.id not in seen:
            seen[update.id] = update
            continue
        before = seen[update.id]
        if (
            before is None
            or before.action not in ACTIONS_OPEN
            or update.action is OperationAction.START
            or update.type not in (OperationType.STEP, OperationType.CONTEXT)
        ):
            raise Invalid(
                f"operation {update.id!r} appears twice in one checkpoint;"
                " only START and then a close of a STEP or CONTEXT may"
            )
        seen[update.id] = update if update.action is OperationAction.HEARTBEAT else None


def _is_identifier(value: str, chars_max: int) -> bool:
    return len(value) <= chars_max and _IDENTIFIER.fullmatch(value) is not None


def _where(update: OperationUpdate) -> str:
    return f"{update.action} of {update.type} {preview(update.id)}"
