"""The form of requests, checked at the edge: names, ranges, counts. States are not known here.

Every message names the field, what was sent, and the bound.
"""

from typing import Final

from perdure_core import limits
from perdure_core.identity import NAMESPACE_DEFAULT
from perdure_core.model import ExecutionStatus
from perdure_core.refusals import Invalid
from perdure_core.text import preview
from perdure_core.validation import check_identifier, check_tenant, is_worker_id

NAMESPACE: Final = NAMESPACE_DEFAULT

_STATUS_WORDS: Final = frozenset(str(status) for status in ExecutionStatus)


def check_function_name(name: str) -> None:
    """Raise Invalid unless it can name a function."""
    check_identifier("function_name", name, limits.FUNCTION_NAME_CHARS_MAX)


def check_execution_name(name: str) -> None:
    """Raise Invalid unless it can name an execution."""
    check_identifier("execution_name", name, limits.EXECUTION_NAME_CHARS_MAX)


def check_tenant_id(tenant_id: str) -> None:
    """Raise Invalid unless it can name a tenant, by the pattern of the Lambda API model."""
    check_tenant("tenant id", tenant_id)


def check_range(field: str, value: int, least: int, most: int) -> None:
    """Raise Invalid unless least <= value <= most."""
    if not least <= value <= most:
        raise Invalid(f"{field} is {value:,}; {least:,} to {most:,} are allowed")


def check_count(field: str, count: int, most: int) -> None:
    """Raise Invalid when there are too many of something."""
    if count > most:
        raise Invalid(f"{count:,} {field}; at most {most:,} are allowed")


def check_length(field: str, text: str, chars_max: int) -> None:
    """Raise Invalid when a text is too long."""
    if len(text) > chars_max:
        raise Invalid(f"{field} is {len(text):,} characters; at most {chars_max:,} are allowed")


def check_worker_id(worker_id: str) -> None:
    """Raise Invalid unless it can name a worker."""
    if not is_worker_id(worker_id):
        raise Invalid(
            f"worker_id {preview(worker_id)} must be 1 to {limits.WORKER_ID_CHARS_MAX} of"
            " A-Z a-z 0-9 - _ . : @"
        )


def checked_page_items(field: str, value: int, default: int = limits.PAGE_ITEMS_DEFAULT) -> int:
    """Return the size of a page: what was asked for, or the default for 0. Raises Invalid."""
    if value == 0:
        return default
    check_range(field, value, 1, limits.PAGE_ITEMS_MAX)
    return value


def check_statuses(statuses: tuple[str, ...]) -> None:
    """Raise Invalid unless every word is a status."""
    check_count("statuses", len(statuses), limits.STATUSES_MAX)
    for status in statuses:
        if status not in _STATUS_WORDS:
            known = " | ".join(ExecutionStatus)
            raise Invalid(f"unknown status {preview(status)}; expected {known}")
