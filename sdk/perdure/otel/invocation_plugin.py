"""Plugin that shows each invocation as a tree of spans of its own.

    ancestor ─┬─ Invocation ── operation ── attempt     exported at the end of each invocation
              └─ Workflow                                linked to by operations and attempts

An operation that is open in several invocations has a span in each: the first one has the id
derived from the operation, later ones link to it. Times of spans are those of the worker's clock.
"""

import threading

from opentelemetry.trace import Span, SpanContext

from perdure.otel.attributes import name_of, of_operation, set_operation_outcome
from perdure.otel.config import OtelPluginConfig
from perdure.otel.invocation_spans import InvocationSpans, OtelPlugin
from perdure.plugins.hooks import (
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationEndInfo,
    OperationInfo,
    OperationStartInfo,
    OperationType,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)


class InvocationOtelPlugin(OtelPlugin):
    """Creates a tree of spans for one invocation. One plugin serves one invocation."""

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        super().__init__(config)
        self._lock = threading.Lock()
        self._open: dict[str, Span] = {}
        self._replayed: dict[str, bool] = {}

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Start the span of the invocation, and make it current."""
        spans = InvocationSpans.begin(self._config, info)
        if spans is None:
            return
        spans.surround(spans.current(), self._config)
        self._spans = spans

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """End all open spans, and export the execution's span if the execution has ended."""
        spans, self._spans = self._spans, None
        if spans is None:
            return
        spans.cut_attempts()
        with self._lock:
            open_spans = list(self._open.items())
            self._open.clear()
        for operation_id, span in reversed(open_spans):  # inner ones first
            if not _is_restarted(spans, info, operation_id, span):
                span.end()
        spans.end(info)

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Start the span of the operation; that of a context starts with its body."""
        spans = self._spans
        if spans is None:
            return
        if info.operation_type is OperationType.CONTEXT:
            self._replayed[info.operation_id] = info.is_replayed
        elif self._opened(info.operation_id) is None:
            self._start(spans, info, again=info.is_replayed)

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Export the span of the operation; one that ended between invocations gets a short one."""
        spans = self._spans
        if spans is None or info.is_replayed:
            return
        with self._lock:
            span = self._open.pop(info.operation_id, None)
        if span is None:
            span = self._start(spans, info, again=True)
            with self._lock:
                self._open.pop(info.operation_id, None)
        span.set_attributes(of_operation(spans.trace.execution_arn, info))
        set_operation_outcome(span, info)
        spans.export(span, info)

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Start the span of an attempt, or of a context, and make it current."""
        spans = self._spans
        if spans is None or info.is_replay_children:
            return
        if info.operation_type is OperationType.STEP:
            step = self._opened(info.operation_id)
            parent = self._parent(spans, info) if step is None else step.get_span_context()
            spans.begin_attempt(info, parent, spans.workflow)
            return
        context = self._opened(info.operation_id) or self._start(
            spans, info, again=self._replayed.get(info.operation_id)
        )
        spans.enter(info, context)

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Export the span of the attempt; restore the current span."""
        spans = self._spans
        if spans is None or info.is_replay_children:
            return
        if info.operation_type is OperationType.STEP:
            spans.end_attempt(info)
        else:
            spans.leave(info)

    def _start(self, spans: InvocationSpans, info: OperationInfo, *, again: bool | None) -> Span:
        """Start the span of an operation: with its own id, or a further one (`again`, or None)."""
        trace = spans.trace
        operation = trace.operation(info.operation_id)
        span = trace.start(
            name_of(info),
            self._parent(spans, info),
            of_operation(trace.execution_arn, info),
            span_id=operation.span_id if again is False else None,
            links=(operation, spans.workflow) if again else (spans.workflow,),
        )
        with self._lock:
            self._open[info.operation_id] = span
        return span

    def _opened(self, operation_id: str) -> Span | None:
        with self._lock:
            return self._open.get(operation_id)

    def _parent(self, spans: InvocationSpans, info: OperationInfo) -> SpanContext:
        parent = None if info.parent_id is None else self._opened(info.parent_id)
        return spans.invocation if parent is None else parent.get_span_context()


def _is_restarted(
    spans: InvocationSpans, info: InvocationEndInfo, operation_id: str, span: Span
) -> bool:
    """Return whether the next invocation starts an operation again, with the same span.

    It does where this one is retried before the start was known to be recorded. Spans below have
    their parent there.
    """
    if info.status is not InvocationStatus.RETRY or operation_id in info.operations:
        return False
    return span.get_span_context().span_id == spans.trace.operation(operation_id).span_id
