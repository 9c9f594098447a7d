"""Counting what has become durable: from events to metrics."""

from typing import Final

from perdure_core.events import (
    Event,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    Record,
    StepFailed,
    StepSucceeded,
)
from perdure_core.model import ExecutionStatus
from perdure_host.metrics import ServerMetrics

_ENDS: Final[dict[type[Event], ExecutionStatus]] = {
    ExecutionSucceeded: ExecutionStatus.SUCCEEDED,
    ExecutionFailed: ExecutionStatus.FAILED,
    ExecutionTimedOut: ExecutionStatus.TIMED_OUT,
    ExecutionStopped: ExecutionStatus.STOPPED,
}
_COUNTED: Final[frozenset[type[Event]]] = frozenset(
    {ExecutionStarted, StepFailed, StepSucceeded, *_ENDS}
)


def count(metrics: ServerMetrics, function: str, record: Record) -> None:
    """Add a committed record to the metrics."""
    for event in record.events:
        kind = type(event)
        if kind not in _COUNTED:
            continue
        match event:
            case StepSucceeded():
                if event.next_attempt_delay_ms is None:
                    metrics.steps["succeeded"].inc()
            case StepFailed():
                if event.next_attempt_delay_ms is None:
                    metrics.steps["failed"].inc()
                else:
                    metrics.steps["retried"].inc()
                    metrics.step_retries.inc()
            case ExecutionStarted():
                metrics.execution_started(function)
            case _:
                metrics.execution_ended(function, _ENDS[kind])
