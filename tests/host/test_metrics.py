"""Metrics: Prometheus reads what was counted, and the output stays small."""

from prometheus_client import generate_latest

from perdure_host.metrics import FUNCTION_LABEL_OTHER, FUNCTION_LABELS_MAX, ServerMetrics


def value(metrics: ServerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"perdure_{name}", labels)


def test_an_execution_is_counted_when_it_starts_and_when_it_ends() -> None:
    metrics = ServerMetrics()
    metrics.execution_started("order")
    metrics.execution_started("order")
    metrics.execution_ended("order", "SUCCEEDED")
    assert value(metrics, "executions_started_total", function="order") == 2
    assert value(metrics, "executions_ended_total", function="order", status="SUCCEEDED") == 1
    assert value(metrics, "executions_running", function="order") == 1


def test_what_runs_is_set_after_loading() -> None:
    metrics = ServerMetrics()
    metrics.execution_started("old")
    metrics.set_executions_running({"order": 3})
    assert value(metrics, "executions_running", function="order") == 3
    assert value(metrics, "executions_running", function="old") == 0


def test_functions_beyond_the_limit_share_one_label() -> None:
    metrics = ServerMetrics()
    for number in range(FUNCTION_LABELS_MAX + 2):
        metrics.execution_started(f"f{number}")
        metrics.execution_ended(f"f{number}", "FAILED")
    other = {"function": FUNCTION_LABEL_OTHER}
    assert value(metrics, "executions_started_total", **other) == 2
    assert value(metrics, "executions_ended_total", status="FAILED", **other) == 2
    assert value(metrics, "executions_started_total", function="f1000") is None


def test_the_queues_are_read_at_each_scrape() -> None:
    metrics = ServerMetrics()
    metrics.queues = lambda: {"order": (4, 1.5)}
    assert value(metrics, "queue_depth", function="order") == 4
    assert value(metrics, "queue_oldest_age_seconds", function="order") == 1.5


def test_every_metric_is_exposed_from_the_start() -> None:
    text = generate_latest(ServerMetrics().registry).decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    expected = {
        *("executions_started_total", "executions_ended_total", "executions_running"),
        *("steps_total", "step_retries_total", "invocations_total", "replayed_operations_total"),
        *("checkpoint_seconds", "commit_changes", "commit_seconds", "commits_total"),
        *("schedule_to_start_seconds", "queue_depth", "queue_oldest_age_seconds"),
        *("timer_lateness_seconds", "sync_matches_total", "slots", "slots_in_use"),
        *("workers_connected", "invariant_violations_total", "fenced_commits_total"),
        *("commit_failures_total", "cache_executions", "cache_bytes", "build_info"),
        *("status_events_backlog", "status_events_oldest_age_seconds"),
        *("status_events_told_total", "status_events_failures_total"),
    }
    assert {f"perdure_{name}" for name in expected} - families == set()
    assert "_created" not in text
