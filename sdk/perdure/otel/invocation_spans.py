"""Spans of an invocation, of its attempts and of the execution, as both plugins create them.

The end of an operation that ended before the invocation is reported again in the next one, unless
a checkpoint of this one is accepted. So the spans of such operations are held until then, and
exported once:

    held ── an operation ended by a checkpoint, or the invocation was completed ──> exported
      └──── the invocation is retried, and nothing has changed in it ─────────────> dropped

While a user function runs, its span is the current one. The hooks of its start and end are called
in the same place, so at its end the previous context is restored, whatever the function did to it.
"""

import threading
import time
from datetime import datetime

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext

from perdure.otel.attributes import (
    TRUNCATED,
    Attributes,
    name_of,
    of_attempt,
    of_execution,
    set_invocation_outcome,
    set_outcome,
)
from perdure.otel.config import OtelPluginConfig
from perdure.otel.execution_trace import ExecutionTrace
from perdure.otel.log_filter import correlate, current_span_context, install_log_filter
from perdure.plugins.hooks import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationEndInfo,
    PropagationInput,
    PropagationMetadata,
    UserFunctionEndInfo,
    UserFunctionOutcome,
    UserFunctionStartInfo,
)
from perdure_core.model import OperationStatus
from perdure_core.timestamps import to_epoch_ns

_ENDS_EXECUTION = (InvocationStatus.SUCCEEDED, InvocationStatus.FAILED)


class InvocationSpans:
    """Spans of one invocation. Threads may share it: each key belongs to one of them."""

    def __init__(
        self, trace_: ExecutionTrace, config: OtelPluginConfig, info: InvocationStartInfo
    ) -> None:
        self.trace = trace_
        self.workflow = trace_.workflow()
        self._workflow_name = config.workflow_span_name
        self._attempts: dict[tuple[str, int], Span] = {}
        self._before: dict[tuple[str, int], Context] = {}
        self._lock = threading.Lock()
        self._updated_ids = info.updated_operations.keys()
        self._statuses = _statuses(info)
        self._accepted = False
        self._held: list[tuple[Span, int | None]] = []
        if info.is_first_invocation and not trace_.ancestor.is_remote:
            self._held.append((trace_.start_root(), to_epoch_ns(trace_.started)))
        first = of_execution(trace_.execution_arn) | {
            "durable.invocation.first": info.is_first_invocation
        }
        self._span = trace_.start("Invocation", trace_.ancestor, first)
        self.invocation = self._span.get_span_context()

    @classmethod
    def begin(cls, config: OtelPluginConfig, info: InvocationStartInfo) -> "InvocationSpans | None":
        """Start the span of an invocation; return None where there are no traces."""
        trace_ = ExecutionTrace.of(config, info)
        return None if trace_ is None else cls(trace_, config, info)

    def surround(self, span: Span, config: OtelPluginConfig) -> None:
        """Make a span current for the handler, and add the invocation's ids to log records."""
        contexts.attach(trace.set_span_in_context(span))
        correlate(self.invocation)
        if config.enrich_logger:
            install_log_filter()

    def current(self) -> Span:
        """Return the span of the invocation."""
        return self._span

    def enter(self, info: UserFunctionStartInfo, span: Span) -> None:
        """Make a span current for a user function."""
        self._before[_key(info)] = contexts.get_current()
        contexts.attach(trace.set_span_in_context(span))

    def leave(self, info: UserFunctionEndInfo) -> None:
        """Restore the context from before the function."""
        before = self._before.pop(_key(info), None)
        if before is not None:
            contexts.attach(before)

    def begin_attempt(
        self,
        info: UserFunctionStartInfo,
        parent: SpanContext,
        link: SpanContext,
        *,
        started: datetime | None = None,
    ) -> None:
        """Start the span of a call of a step's function, or of a check, and make it current.

        It starts now, or as of `started`.
        """
        span = self.trace.start(
            f"{name_of(info)} attempt {info.attempt or 1}",
            parent,
            of_attempt(self.trace.execution_arn, info),
            started=started,
            links=(link,),
        )
        self._attempts[_key(info)] = span
        self.enter(info, span)

    def end_attempt(self, info: UserFunctionEndInfo, ended_ns: int | None = None) -> None:
        """End that span, now or at `ended_ns`, with the outcome of the call."""
        self.leave(info)
        span = self._attempts.pop(_key(info), None)
        if span is None:
            return
        span.set_attributes(of_attempt(self.trace.execution_arn, info))
        if info.outcome is UserFunctionOutcome.INCOMPLETE:
            span.set_attribute(TRUNCATED, value=True)
        succeeded = info.outcome is UserFunctionOutcome.SUCCEEDED
        set_outcome(span, info.error, succeeded=succeeded)
        span.end(ended_ns)

    def export(self, span: Span, operation: OperationEndInfo, ended_ns: int | None = None) -> None:
        """End the span of an operation, at `ended_ns` or now, once its end is final."""
        recorded = (
            operation.start_time is not None and operation.operation_id not in self._updated_ids
        )
        if recorded:
            self._release()
        with self._lock:
            if not self._accepted:
                self._held.append((span, ended_ns or time.time_ns()))
                return
        span.end(ended_ns)

    def cut_attempts(self) -> None:
        """End the spans of attempts whose end will not be reported."""
        while self._attempts:
            _, span = self._attempts.popitem()
            span.set_attribute(TRUNCATED, value=True)
            span.end()

    def end(self, info: InvocationEndInfo, latest: datetime | None = None) -> None:
        """End the span of the invocation, and export that of the execution if it has ended.

        `latest` is the last end of an operation, by the clock of the service, which may be ahead.
        """
        self.cut_attempts()
        if info.status is not InvocationStatus.RETRY or _statuses(info) != self._statuses:
            self._release()
        set_invocation_outcome(self._span, info)
        self._span.end()
        if info.status in _ENDS_EXECUTION:
            self._export_workflow(info, latest)

    def metadata(self, info: PropagationInput) -> PropagationMetadata:
        """Return the trace header by which an invoked execution joins the trace."""
        return PropagationMetadata(self.trace.header(info.operation_id))

    def _release(self) -> None:
        with self._lock:
            self._accepted = True
            held, self._held = self._held, []
        for span, ended_ns in held:
            span.end(ended_ns)

    def _export_workflow(self, info: InvocationEndInfo, latest: datetime | None) -> None:
        status: Attributes = {"durable.execution.status": info.status.value}
        span = self.trace.start(
            self._workflow_name,
            self.trace.ancestor,
            of_execution(self.trace.execution_arn) | status,
            span_id=self.workflow.span_id,
            started=self.trace.started,
        )
        succeeded = info.status is InvocationStatus.SUCCEEDED
        set_outcome(span, info.error, succeeded=succeeded)
        span.end(end_now(self.trace.started if latest is None else latest))


class OtelPlugin(DurableInstrumentationPlugin):
    """The parts that both plugins share: configuration, the spans of the invocation, trace ids."""

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        self._config = config or OtelPluginConfig()
        self._spans: InvocationSpans | None = None

    def get_current_span_context(self) -> SpanContext | None:
        """Return the span to which a log record made here belongs; None outside of invocations."""
        return current_span_context()

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        """Return the trace header by which the execution that an invoke starts joins the trace."""
        return None if self._spans is None else self._spans.metadata(info)


def end_now(not_before: datetime) -> int:
    """Return the current time in nanoseconds since 1970, at least `not_before`."""
    return max(time.time_ns(), to_epoch_ns(not_before))


def placeholder(context: SpanContext) -> Span:
    """Return a placeholder for a span exported later, which can be current and a parent."""
    return NonRecordingSpan(context)


def _statuses(info: InvocationInfo) -> dict[str, OperationStatus]:
    return {id_: operation.status for id_, operation in info.operations.items()}


def _key(info: UserFunctionStartInfo | UserFunctionEndInfo) -> tuple[str, int]:
    return info.operation_id, info.attempt or 0
