"""Checks of fields that core never sees, such as the sizes of pages, waits and registrations.

Core checks the form of everything that reaches it, for all APIs alike (`perdure_core.validation`).
In addition the gateway checks only what guards memory before a message is decoded.

Every message names the field, the bound, and the value.
"""

from typing import Final

from perdure_core import limits
from perdure_core.identity import NAMESPACE_DEFAULT
from perdure_core.model import ExecutionStatus
from perdure_core.refusals import Invalid
from perdure_core.text import preview
from perdure_core.validation import check_identifier, is_worker_id

NAMESPACE: Final = NAMESPACE_DEFAULT

_STATUSES: Final = frozenset(str(status) for status in ExecutionStatus)


def check_function_name(name: str) -> None:
    """Raise Invalid unless the name can be that of a function."""
    check_identifier("function_name", name, limits.FUNCTION_NAME_CHARS_MAX)


def check_execution_name(name: str) -> None:
    """Raise Invalid unless the name can be that of an execution."""
    check_identifier("execution_name", name, limits.EXECUTION_NAME_CHARS_MAX)


def check_execution_name_prefix(prefix: str) -> None:
    """Raise Invalid unless names of executions can begin with it."""
    check_identifier("execution_name_prefix", prefix, limits.EXECUTION_NAME_CHARS_MAX)


def check_range(field: str, value: int, least: int, most: int) -> None:
    """Raise Invalid unless least <= value <= most."""
    if not least <= value <= most:
        raise Invalid(f"{field} must be {least:,} to {most:,}, got {value:,}")


def check_count(field: str, count: int, most: int) -> None:
    """Raise Invalid when there are too many items."""
    if count > most:
        raise Invalid(f"{field} must be at most {most:,}, got {count:,}")


def check_length(field: str, text: str, chars_max: int) -> None:
    """Raise Invalid when a text is too long."""
    if len(text) > chars_max:
        raise Invalid(f"{field} must be at most {chars_max:,} characters, got {len(text):,}")


def check_worker_id(worker_id: str) -> None:
    """Raise Invalid unless the id can be that of a worker."""
    if not is_worker_id(worker_id):
        raise Invalid(
            f"worker_id {preview(worker_id)} must be 1 to {limits.WORKER_ID_CHARS_MAX} of"
            " A-Z a-z 0-9 - _ . : @"
        )


def checked_page_items(field: str, value: int, default: int = limits.PAGE_ITEMS_DEFAULT) -> int:
    """Return the requested size of a page, or the default for 0. Raises Invalid."""
    if value == 0:
        return default
    check_range(field, value, 1, limits.PAGE_ITEMS_MAX)
    return value


def check_statuses(statuses: tuple[str, ...]) -> None:
    """Raise Invalid unless every text is a status."""
    check_count("statuses", len(statuses), limits.STATUSES_MAX)
    for status in statuses:
        if status not in _STATUSES:
            known = " | ".join(ExecutionStatus)
            raise Invalid(f"status must be one of {known}, got {preview(status)}")
