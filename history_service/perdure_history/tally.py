"""Counting what has become durable: from events to metrics."""

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

_ENDS: dict[type[Event], ExecutionStatus] = {
    ExecutionSucceeded: ExecutionStatus.SUCCEEDED,
    ExecutionFailed: ExecutionStatus.FAILED,
    ExecutionTimedOut: ExecutionStatus.TIMED_OUT,
    ExecutionStopped: ExecutionStatus.STOPPED,
}


def count(metrics: ServerMetrics, function: str, record: Record) -> None:
    """Add a committed record to the metrics."""
    for event in record.events:
        if isinstance(event, StepSucceeded):
            if event.next_attempt_delay_ms is None:
                metrics.steps["succeeded"].inc()
        elif isinstance(event, StepFailed):
            if event.next_attempt_delay_ms is None:
                metrics.steps["failed"].inc()
            else:
                metrics.steps["retried"].inc()
                metrics.step_retries.inc()
        elif isinstance(event, ExecutionStarted):
            metrics.execution_started(function)
        else:
            status = _ENDS.get(type(event))
            if status is not None:
                metrics.execution_ended(function, status)
