"""Metrics of a worker, and where they can be read."""

from perdure.worker_api import abandoned_steps
from perdure_worker.metrics.metrics import InvocationCounters, WorkerMetrics, count_invocation


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"perdure_worker_{name}", labels)


def test_an_invocation_adds_its_tally() -> None:
    metrics, counters = WorkerMetrics(), InvocationCounters()
    counters.operation_replayed()
    counters.operation_replayed()
    counters.step_finished("retried")
    counters.step_finished("succeeded")
    count_invocation(metrics, "pending", counters)
    assert value(metrics, "invocations_total", outcome="pending") == 1
    assert value(metrics, "replayed_operations_total") == 2
    assert value(metrics, "steps_total", outcome="retried") == 1
    assert value(metrics, "steps_total", outcome="succeeded") == 1


def test_every_outcome_is_there_from_the_start() -> None:
    metrics = WorkerMetrics()
    for outcome in ("succeeded", "failed", "pending", "error", "dropped"):
        assert value(metrics, "invocations_total", outcome=outcome) == 0
    for outcome in ("succeeded", "failed", "retried"):
        assert value(metrics, "steps_total", outcome=outcome) == 0


def test_bodies_that_run_on_after_their_timeout_are_counted() -> None:
    metrics = WorkerMetrics()
    assert abandoned_steps.admit()
    try:
        assert value(metrics, "overdue_bodies") == 1
    finally:
        abandoned_steps.leave()
    assert value(metrics, "overdue_bodies") == 0
