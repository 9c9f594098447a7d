"""Decisions: the record of what became true, and deliveries to other executions.

Timers and tasks are not part of a decision: they are functions of the state after the record was
folded in (`State.alarms`, `wants_task`), so a decision cannot forget one.
"""

from typing import Literal

import msgspec

from perdure_core.events import ParentLink, Record
from perdure_core.model import ErrorObject
from perdure_core.payload import Payload


class StartChild(msgspec.Struct, frozen=True, tag="start", kw_only=True):
    """Start the execution of a chained invoke."""

    namespace: str
    function: str
    name: str
    execution_id: str
    parent: ParentLink
    input: Payload | None = None
    tenant_id: str | None = None
    trace_header: str | None = None


class ReportEnd(msgspec.Struct, frozen=True, tag="end", kw_only=True):
    """Report to the parent how its chained invoke ended."""

    parent: ParentLink
    status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"]
    result: Payload | None = None
    error: ErrorObject | None = None


Delivery = StartChild | ReportEnd


class Decision(msgspec.Struct, frozen=True):
    """`record` is None when nothing changes: the command repeats what already happened."""

    record: Record | None
    deliveries: tuple[Delivery, ...] = ()


NOTHING = Decision(None)
