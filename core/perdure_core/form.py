"""The form of what callers send: charsets, lengths, sizes, and which fields go together. The state does not matter here.

Bounds come from `limits.py`; every message names the offending thing and the bound.
"""

import re
from typing import Final

from perdure_core import limits
from perdure_core.model import (
    ErrorObject,
    OperationAction,
    OperationType,
    OperationUpdate,
)
from perdure_core.refusals import Invalid

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
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
        }
    ),
    OperationType.WAIT: frozenset({OperationAction.START, OperationAction.CANCEL}),
    OperationType.CALLBACK: frozenset({OperationAction.START}),
    OperationType.CHAINED_INVOKE: frozenset({OperationAction.START}),
}


def check_identifier(what: str, value: str, chars_max: int) -> None:
    """Raise Invalid unless value is 1 to chars_max characters of [A-Za-z0-9_-]."""
    if not value or len(value) > chars_max or _IDENTIFIER.fullmatch(value) is None:
        raise Invalid(f"{what} {_shown(value)} must be 1 to {chars_max} of A-Z a-z 0-9 _ -")


def check_payload(what: str, payload: str | None, bytes_max: int) -> None:
    """Raise Invalid when the payload is larger than the bound, in bytes of UTF-8."""
    if payload is None or len(payload) * 4 <= bytes_max:
        return
    size = len(payload) if payload.isascii() else len(payload.encode())
    if size > bytes_max:
        raise Invalid(f"{what} is {size:,} bytes; at most {bytes_max:,} are allowed")


def check_error(what: str, error: ErrorObject | None) -> None:
    """Raise Invalid when the error's fields are larger than the bound together."""
    if error is not None and error_bytes(error) > limits.ERROR_BYTES_MAX:
        raise Invalid(
            f"{what} is {error_bytes(error):,} bytes; at most {limits.ERROR_BYTES_MAX:,} are allowed"
        )


def error_bytes(error: ErrorObject) -> int:
    """Return the size of all fields in bytes of UTF-8."""
    texts = (error.message, error.type, error.data, *error.stack_trace)
    return sum(len(text.encode()) for text in texts if text)


def bounded_error(error: ErrorObject) -> ErrorObject:
    """Return an error that fits the bound, shortened where it does not: a failure must not fail to be told."""
    if error_bytes(error) <= limits.ERROR_BYTES_MAX:
        return error
    room = limits.ERROR_BYTES_MAX // 4
    return ErrorObject(
        message=_cut(error.message, room), type=_cut(error.type, room), data=_cut(error.data, room)
    )


def check_client_token(token: str) -> None:
    """Raise Invalid unless it is 1 to 64 printable characters without blanks."""
    if (
        not token
        or len(token) > limits.CLIENT_TOKEN_CHARS_MAX
        or _CLIENT_TOKEN.fullmatch(token) is None
    ):
        raise Invalid(
            f"client token {_shown(token)} must be 1 to {limits.CLIENT_TOKEN_CHARS_MAX} printable"
            " ASCII characters"
        )


def check_batch(updates: tuple[OperationUpdate, ...]) -> None:
    """Raise Invalid unless the batch is well-formed as a whole and in each update."""
    if len(updates) > limits.CHECKPOINT_UPDATES_MAX:
        raise Invalid(
            f"a checkpoint of {len(updates):,} updates; at most {limits.CHECKPOINT_UPDATES_MAX:,} are"
            " allowed"
        )
    for position, update in enumerate(updates):
        if update.type is OperationType.EXECUTION and position != len(updates) - 1:
            raise Invalid("an EXECUTION update must be the last of its checkpoint")
        check_update(update)
    _check_repeats(updates)


def check_update(update: OperationUpdate) -> None:
    """Raise Invalid unless the update is well-formed."""
    check_identifier("operation id", update.id, limits.OPERATION_ID_CHARS_MAX)
    if update.action not in _ACTIONS[update.type]:
        raise Invalid(f"a {update.type} cannot {update.action} (operation {update.id!r})")
    _check_labels(update)
    _check_outcome(update)
    _check_options(update)


def _check_labels(update: OperationUpdate) -> None:
    if update.parent_id is not None:
        check_identifier(
            f"parent id of operation {update.id!r}", update.parent_id, limits.OPERATION_ID_CHARS_MAX
        )
    if update.sub_type is not None:
        check_identifier(
            f"sub-type of operation {update.id!r}", update.sub_type, limits.SUB_TYPE_CHARS_MAX
        )
    name = update.name
    if name is not None and (
        not name
        or len(name) > limits.OPERATION_NAME_CHARS_MAX
        or _PRINTABLE.fullmatch(name) is None
    ):
        raise Invalid(
            f"name {_shown(name)} of operation {update.id!r} must be 1 to"
            f" {limits.OPERATION_NAME_CHARS_MAX} printable ASCII characters"
        )


def _check_outcome(update: OperationUpdate) -> None:
    bytes_max = (
        limits.EXECUTION_PAYLOAD_BYTES_MAX
        if update.type is OperationType.EXECUTION
        else limits.OPERATION_PAYLOAD_BYTES_MAX
    )
    check_payload(f"payload of {update.type} {update.id!r}", update.payload, bytes_max)
    check_error(f"error of {update.type} {update.id!r}", update.error)
    if update.action is OperationAction.SUCCEED and update.error is not None:
        raise Invalid(f"SUCCEED of {update.type} {update.id!r} must not carry an error")
    if update.action is OperationAction.FAIL and update.payload is not None:
        raise Invalid(f"FAIL of {update.type} {update.id!r} must not carry a payload")
    if update.action is OperationAction.RETRY and None not in (update.error, update.payload):
        raise Invalid(f"RETRY of {update.type} {update.id!r} carries both an error and a payload")


def _check_options(update: OperationUpdate) -> None:
    where = f"{update.action} of {update.type} {update.id!r}"
    retries = update.type is OperationType.STEP and update.action is OperationAction.RETRY
    _check_duration(f"next attempt delay in {where}", update.next_attempt_delay_ms, wanted=retries)
    waits = update.type is OperationType.WAIT and update.action is OperationAction.START
    _check_duration(f"duration in {where}", update.wait_ms, wanted=waits)
    for what, seconds in (
        ("timeout", update.timeout_s),
        ("heartbeat timeout", update.heartbeat_timeout_s),
    ):
        if not 0 <= seconds <= limits.CALLBACK_TIMEOUT_S_MAX:
            raise Invalid(
                f"{what} of {seconds:,} s in {where} must be 0 to {limits.CALLBACK_TIMEOUT_S_MAX:,} s"
            )
        if seconds and update.type is not OperationType.CALLBACK:
            raise Invalid(f"{where} must not carry callback options")
    _check_target(update, where)


def _check_target(update: OperationUpdate, where: str) -> None:
    if update.type is not OperationType.CHAINED_INVOKE:
        if update.function is not None:
            raise Invalid(f"{where} must not carry chained invoke options")
        return
    if update.function is None:
        raise Invalid(f"{where} needs chained invoke options with a function name")
    check_identifier(f"function name in {where}", update.function, limits.FUNCTION_NAME_CHARS_MAX)
    tenant = update.tenant_id
    if tenant is not None and not 1 <= len(tenant) <= limits.TENANT_ID_CHARS_MAX:
        raise Invalid(f"tenant id in {where} must be 1 to {limits.TENANT_ID_CHARS_MAX} characters")


def _check_duration(what: str, value_ms: int | None, *, wanted: bool) -> None:
    if value_ms is None:
        if wanted:
            raise Invalid(f"{what} is missing")
        return
    if not wanted:
        raise Invalid(f"{what} is not allowed there")
    if not 1 <= value_ms <= limits.WAIT_MS_MAX:
        raise Invalid(f"{what} is {value_ms:,} ms; 1 to {limits.WAIT_MS_MAX:,} are allowed")


def _check_repeats(updates: tuple[OperationUpdate, ...]) -> None:
    """An id may stand twice only as START and then a close, of a STEP or a CONTEXT."""
    seen: dict[str, OperationUpdate] = {}
    closed: set[str] = set()
    for update in updates:
        before = seen.get(update.id)
        seen[update.id] = update
        if before is None:
            continue
        pair_is_legal = (
            update.type in (OperationType.STEP, OperationType.CONTEXT)
            and before.action is OperationAction.START
            and update.action is not OperationAction.START
            and update.id not in closed
        )
        if not pair_is_legal:
            raise Invalid(
                f"operation {update.id!r} stands twice in one checkpoint; only START and then a close of a"
                " STEP or CONTEXT may"
            )
        closed.add(update.id)


def _shown(value: str) -> str:
    return repr(value) if len(value) <= 100 else f"{value[:100]!r}… ({len(value):,} characters)"  # noqa: PLR2004 - enough to recognise it


def _cut(text: str | None, bytes_max: int) -> str | None:
    if text is None or len(text.encode()) <= bytes_max:
        return text
    return text.encode()[: bytes_max - 4].decode(errors="ignore") + "…"
