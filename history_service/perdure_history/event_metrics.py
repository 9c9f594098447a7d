"""Metrics of committed events."""

from typing import Final

from perdure_core.events import (
    Event,
    ExecutionStarted,
    Record,
    StepFailed,
    StepSucceeded,
)
from perdure_history.status_events import STATUS_OF
from perdure_host.metrics import ServerMetrics

_COUNTED: Final[frozenset[type[Event]]] = frozenset({StepFailed, StepSucceeded, *STATUS_OF})


def count(metrics: ServerMetrics, function: str, record: Record) -> None:
    """Count the events of a committed record."""
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
                metrics.execution_ended(function, STATUS_OF[kind])
