"""Markers of pages of executions, the same in each API but for their kind."""

import re
from typing import Final

from perdure_core.refusals import Invalid
from perdure_gateway.admission import validation
from perdure_host.ports import ExecutionPage, ListPosition
from perdure_host.tokens import pack_marker, unpack_marker

# The end of the year 9999, the last time that clients can represent.
TIME_MS_MAX: Final = 253_402_300_799_999

_EXECUTION_ID: Final = re.compile(r"[0-9a-f]{32}")


def list_marker(kind: str, page: ExecutionPage) -> str | None:
    """Return the marker of the next page, or None after the last."""
    return None if page.after is None else pack_marker(kind, page.after)


def list_position(kind: str, marker: str) -> ListPosition:
    """Return where the page before ended. Raises Invalid."""
    started_ms, execution_id = unpack_marker(kind, marker, tuple[int, str])
    validation.check_range("the time in the marker", started_ms, 0, TIME_MS_MAX)
    if _EXECUTION_ID.fullmatch(execution_id) is None:
        raise Invalid("malformed page marker: it must name an execution")
    return started_ms, execution_id
