"""Prometheus metrics of a server. Every metric is named here, once, with its unit in its name.

Labels stay few: functions, statuses and outcomes, never executions, workers or error messages; and
past FUNCTION_LABELS_MAX functions all further ones share one label.

Label children are resolved once and stored in dictionaries, because looking one up costs more than
counting. The state of the queues is read when Prometheus scrapes.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

FUNCTION_LABELS_MAX: Final = 1_000
FUNCTION_LABEL_OTHER: Final = "(other)"

StepOutcome = Literal["succeeded", "failed", "retried"]
InvocationOutcome = Literal["succeeded", "failed", "pending", "error", "diverged", "lost"]
SyncMatch = Literal["sync", "queued"]
QuarantineKind = Literal["execution", "alarm", "outbox", "status_event", "function"]
CommitFailure = Literal["unavailable", "unknown", "fenced", "refused"]
RefusedKind = Literal["start", "callback", "call", "wait"]
RefusalReason = Literal["behind", "queue", "calls", "waits"]

# function -> (tasks queued, age of the oldest in seconds)
Queues = Mapping[str, tuple[int, float]]

_BUCKETS_FAST_S: Final = (
    *(0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_BUCKETS_SLOW_S: Final = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0),
)
_BUCKETS_CHANGES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)


class ServerMetrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        # Creation times would double the number of series and add nothing.
        disable_created_metrics()  # type: ignore[no-untyped-call] # published without types
        self.registry = CollectorRegistry()
        # Replaced by the matching service, which has the queues.
        self.queues: Callable[[], Queues] = dict
        self._add_executions()
        self._add_work()
        self._add_commits()
        self._add_workers()
        self._add_status_events()
        self._add_process()

    def execution_started(self, function: str) -> None:
        """Count a start, and one more running execution."""
        of_function = self._of(function)
        of_function.started.inc()
        of_function.running.inc()

    def execution_ended(self, function: str, status: str) -> None:
        """Count an end, and one running execution less."""
        of_function = self._of(function)
        of_function.running.dec()
        ended = of_function.ended.get(status)
        if ended is None:
            ended = of_function.ended[status] = self._ended.labels(of_function.label, status)
        ended.inc()

    def set_executions_running(self, running: Mapping[str, int]) -> None:
        """Set the number of running executions by function, after loading."""
        for of_function in self._functions.values():
            of_function.running.set(0)
        for function, count in running.items():
            self._of(function).running.inc(count)

    def invariant_violated(self, rule: str) -> None:
        """Count a violation that the scanner found."""
        self._invariant_violations.labels(rule).inc()

    def count_refused(self, kind: RefusedKind, reason: RefusalReason) -> None:
        """Count a call that was refused because there is too much to do."""
        self._refused.labels(kind, reason).inc()

    def _of(self, function: str) -> "_OfFunction":
        found = self._functions.get(function)
        if found is not None:
            return found
        label = function if len(self._functions) < FUNCTION_LABELS_MAX else FUNCTION_LABEL_OTHER
        if label not in self._functions:
            self._functions[label] = _OfFunction(
                label, self._started.labels(label), self._running.labels(label), {}
            )
        return self._functions[label]

    def _add_executions(self) -> None:
        self._functions: dict[str, _OfFunction] = {}
        self._started = self._counter("executions_started", "Executions started.", "function")
        self._ended = self._counter(
            "executions_ended", "Executions ended, by final status.", "function", "status"
        )
        self._running = self._gauge(
            "executions_running", "Executions that have not ended.", "function"
        )

    def _add_work(self) -> None:
        steps = self._counter("steps", "Attempts of steps, by outcome.", "outcome")
        self.steps: Mapping[StepOutcome, Counter] = {
            outcome: steps.labels(outcome) for outcome in ("succeeded", "failed", "retried")
        }
        self.step_retries = self._counter("step_retries", "Failed attempts that are retried.")
        invocations = self._counter("invocations", "Invocations ended, by outcome.", "outcome")
        self.invocations: Mapping[InvocationOutcome, Counter] = {
            outcome: invocations.labels(outcome)
            for outcome in ("succeeded", "failed", "pending", "error", "diverged", "lost")
        }
        self.replayed_operations = self._counter(
            "replayed_operations", "Operations that handlers replayed from history."
        )
        self.checkpoint_seconds = self._histogram(
            "checkpoint_seconds", "Time from a checkpoint's arrival to its durable answer.", "fast"
        )
        self.schedule_to_start_seconds = self._histogram(
            "schedule_to_start_seconds",
            "Time from the offer of an invocation to its delivery.",
            "slow",
        )
        self.timer_lateness_seconds = self._histogram(
            "timer_lateness_seconds", "Time from a timer's due time to its handling.", "slow"
        )
        matches = self._counter(
            "sync_matches", "Tasks taken at once (sync) or after queueing (queued).", "matched"
        )
        self.sync_matches: Mapping[SyncMatch, Counter] = {
            matched: matches.labels(matched) for matched in ("sync", "queued")
        }
        self.registry.register(_QueueCollector(self))

    def _add_commits(self) -> None:
        self.commits = self._counter("commits", "Transactions committed.")
        self.commit_seconds = self._histogram("commit_seconds", "Duration of a commit.", "fast")
        self.commit_changes = Histogram(
            "perdure_commit_changes",
            "Executions changed in one commit.",
            buckets=_BUCKETS_CHANGES,
            registry=self.registry,
        )
        failures = self._counter("commit_failures", "Commits that failed, by kind.", "kind")
        self.commit_failures: Mapping[CommitFailure, Counter] = {
            kind: failures.labels(kind) for kind in ("unavailable", "unknown", "fenced", "refused")
        }
        self.fenced_commits = self._counter(
            "fenced_commits", "Commits refused because another incarnation has taken over."
        )
        self._invariant_violations = self._counter(
            "invariant_violations", "Violations that the scanner found, by rule.", "rule"
        )
        quarantined = self._gauge(
            "quarantined", "Executions and rows set aside because they cannot be read.", "kind"
        )
        self.quarantined: Mapping[QuarantineKind, Gauge] = {
            kind: quarantined.labels(kind)
            for kind in ("execution", "alarm", "outbox", "status_event", "function")
        }
        self.histories_half_full = self._counter(
            "histories_half_full", "Executions whose history came to use half of its room."
        )
        self.cache_executions = self._gauge("cache_executions", "Executions in the cache.")
        self.cache_bytes = self._gauge("cache_bytes", "Approximate size of the cache.")

    def _add_workers(self) -> None:
        self.wall_clock_ahead_seconds = self._gauge(
            "wall_clock_ahead_seconds",
            "How far the machine's wall clock was set since the server started.",
        )
        self._refused = self._counter(
            "refused_calls",
            "Calls refused because of overload, by kind and reason.",
            "kind",
            "reason",
        )
        self.node_delay_seconds = self._gauge(
            "node_delay_seconds", "How far the node is behind: its event loop, and its commits."
        )
        self.workers_connected = self._gauge("workers_connected", "Workers that are connected.")
        self.slots = self._gauge("slots", "Invocations that the connected workers can run.")
        self.slots_in_use = self._gauge(
            "slots_in_use", "Invocations that the connected workers run now."
        )

    def _add_status_events(self) -> None:
        self.status_events_backlog = self._gauge(
            "status_events_backlog", "Status-change events that are not delivered yet."
        )
        self.status_events_oldest_age_seconds = self._gauge(
            "status_events_oldest_age_seconds", "Age of the oldest undelivered status-change event."
        )
        self.status_events_told = self._counter(
            "status_events_told", "Status-change events that were delivered."
        )
        self.status_events_failures = self._counter(
            "status_events_failures", "Failed deliveries of status-change events."
        )

    def _add_process(self) -> None:
        ProcessCollector(registry=self.registry)
        build_info = self._gauge(
            "build_info", "Always 1; the labels describe the build.", "version"
        )
        build_info.labels(perdure_version()).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"perdure_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"perdure_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, pace: Literal["fast", "slow"]) -> Histogram:
        buckets = _BUCKETS_FAST_S if pace == "fast" else _BUCKETS_SLOW_S
        return Histogram(f"perdure_{name}", text, buckets=buckets, registry=self.registry)


def perdure_version() -> str:
    """Return the installed version."""
    try:
        return version("perdure")
    except PackageNotFoundError:
        return "unknown"


class _OfFunction(NamedTuple):
    """The metrics of one function, with their labels resolved."""

    label: str
    started: Counter
    running: Gauge
    ended: dict[str, Counter]


class _QueueCollector(Collector):
    """Reads the queues when Prometheus scrapes."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "perdure_queue_depth", "Tasks that wait for a worker.", labels=["function"]
        )
        age = GaugeMetricFamily(
            "perdure_queue_oldest_age_seconds", "Age of the oldest task.", labels=["function"]
        )
        for function, (tasks, oldest_age_s) in self._metrics.queues().items():
            depth.add_metric([function], tasks)
            age.add_metric([function], oldest_age_s)
        yield depth
        yield age
