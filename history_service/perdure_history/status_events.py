"""Status events: rows that report the start and the end of executions to a sink.

As on AWS with EventBridge, only start and end are reported. There are no such events for pause,
resumption and deletion.
"""

from collections.abc import Mapping
from typing import Final

from perdure_core.events import (
    Event,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Record,
    is_public,
)
from perdure_core.model import ExecutionStatus
from perdure_core.state import State
from perdure_host.ports import ExecutionKey, StatusEventRow

# Every event that starts or ends an execution, with the status that it leads to.
STATUS_OF: Final[Mapping[type[Event], ExecutionStatus]] = {
    ExecutionStarted: ExecutionStatus.RUNNING,
    ExecutionSucceeded: ExecutionStatus.SUCCEEDED,
    ExecutionFailed: ExecutionStatus.FAILED,
    ExecutionTimedOut: ExecutionStatus.TIMED_OUT,
    ExecutionStopped: ExecutionStatus.STOPPED,
}


def status_events(
    key: ExecutionKey, state: State, record: Record, first_event_id: int
) -> tuple[StatusEventRow, ...]:
    """Return the status events of a record, in order; most records have none.

    `state` has the record folded in, and `first_event_id` is the number of its first public event.
    """
    if STATUS_OF.keys().isdisjoint(map(type, record.events)):
        return ()
    public = filter(is_public, record.events)
    return tuple(
        [
            _row(key, state, record.at_ms, event_id, status)
            for event_id, event in enumerate(public, first_event_id)
            if (status := STATUS_OF.get(type(event))) is not None
        ]
    )


def _row(
    key: ExecutionKey, state: State, at_ms: int, event_id: int, status: ExecutionStatus
) -> StatusEventRow:
    return StatusEventRow(
        key=key,
        event_id=event_id,
        # Another node, with another clock, may have started it; no end may precede its start.
        at_ms=max(at_ms, state.started_ms),
        namespace=state.namespace,
        function=state.function,
        name=state.name,
        status=status,
        started_ms=state.started_ms,
        ended_ms=None if status is ExecutionStatus.RUNNING else at_ms,
    )
