"""Prometheus metrics of a worker.

Labels are few and closed; units are in the names. The registry is the worker's own, so that several
workers in one process do not meet, and the host's Python process metrics stay the host's choice.
"""

import threading
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from perdure.worker_api import abandoned_steps

InvocationOutcome = Literal["succeeded", "failed", "pending", "error", "diverged", "dropped"]
StepOutcome = Literal["succeeded", "failed", "retried"]

INVOCATION_OUTCOMES: Final[tuple[InvocationOutcome, ...]] = (
    "succeeded",
    "failed",
    "pending",
    "error",
    "diverged",
    "dropped",
)
STEP_OUTCOMES: Final[tuple[StepOutcome, ...]] = ("succeeded", "failed", "retried")

CHECKPOINT_BUCKETS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0),
)


class WorkerMetrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.slots = Gauge(
            "perdure_worker_slots",
            "Invocations that the worker can run at a time.",
            registry=self.registry,
        )
        self.slots_in_use = Gauge(
            "perdure_worker_slots_in_use",
            "Slots whose handler runs, also one whose invocation is lost.",
            registry=self.registry,
        )
        self.replayed_operations = Counter(
            "perdure_worker_replayed_operations",
            "Durable calls that were answered from the record.",
            registry=self.registry,
        )
        self.checkpoint_seconds = Histogram(
            "perdure_worker_checkpoint_seconds",
            "From the first sending of a checkpoint to its answer, reconnects included.",
            buckets=CHECKPOINT_BUCKETS_S,
            registry=self.registry,
        )
        self.abandoned_steps = Gauge(
            "perdure_worker_overdue_bodies",
            "Steps that still run in this process after their timeout; results are lost.",
            registry=self.registry,
        )
        self.abandoned_steps.set_function(lambda: abandoned_steps.count)
        self.reconnects = Counter(
            "perdure_worker_reconnects",
            "Sessions that were opened after the first.",
            registry=self.registry,
        )
        invocations = Counter(
            "perdure_worker_invocations",
            "Invocations by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        steps = Counter(
            "perdure_worker_steps",
            "Attempts of steps by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        # Looked up once: a child per label exists from the start, so that rates begin at zero.
        self.invocations = {name: invocations.labels(name) for name in INVOCATION_OUTCOMES}
        self.steps = {name: steps.labels(name) for name in STEP_OUTCOMES}


class InvocationCounters:
    """Counters of one invocation, written by its threads and read when they are done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.replayed_operations = 0
        self.steps: dict[StepOutcome, int] = {}

    def operation_replayed(self) -> None:
        """Note that a durable call was answered from the record."""
        with self._lock:
            self.replayed_operations += 1

    def step_finished(self, outcome: StepOutcome) -> None:
        """Note that an attempt of a step was recorded."""
        with self._lock:
            self.steps[outcome] = self.steps.get(outcome, 0) + 1


def count_invocation(
    metrics: WorkerMetrics, outcome: InvocationOutcome, counters: InvocationCounters
) -> None:
    """Add an invocation that has ended."""
    metrics.invocations[outcome].inc()
    if counters.replayed_operations:
        metrics.replayed_operations.inc(counters.replayed_operations)
    for step_outcome, count in counters.steps.items():
        metrics.steps[step_outcome].inc(count)
