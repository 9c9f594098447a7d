"""Plugin that shows an execution as one tree of spans, across its invocations.

    ancestor ─┬─ Workflow ── operation ── attempt       exported when each has ended, once
              └─ Invocation                              linked to by what it exported

While an operation is open, only the ids of its span are needed, which are derived from the
operation's id; so nothing is stored between invocations, and open operations of a suspended
invocation cost nothing.
"""

import threading
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from opentelemetry.trace import SpanContext

from perdure.otel.attributes import name_of, of_operation, set_operation_outcome
from perdure.otel.config import OtelPluginConfig
from perdure.otel.invocation_spans import InvocationSpans, OtelPlugin, placeholder
from perdure.plugins.hooks import (
    InvocationEndInfo,
    InvocationStartInfo,
    OperationEndInfo,
    OperationStartInfo,
    OperationType,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)
from perdure_core.timestamps import to_epoch_ns


@dataclass
class _Open:
    """An operation that has not ended. `virtual`: a context that is not recorded.

    `live`: something below it happened in this invocation, rather than in a replay.
    """

    span: SpanContext
    virtual: bool = False
    live: bool = False
    outer: "_Open | None" = None
    started: datetime | None = None
    ended: datetime | None = None

    def widen(self, started: datetime | None, ended: datetime | None) -> None:
        """Extend the span to enclose those below it, even when clocks of two machines differ."""
        times = [each for each in (self.started, started) if each is not None]
        self.started = min(times, default=None)
        times = [each for each in (self.ended, ended) if each is not None]
        self.ended = max(times, default=None)


# The innermost context whose body runs here.
_around: ContextVar[_Open | None] = ContextVar("perdure_otel_around", default=None)


class ExecutionOtelPlugin(OtelPlugin):
    """Creates one tree of spans for an execution. One plugin serves one invocation."""

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        super().__init__(config)
        self._first = False
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._recorded: set[str] = set()
        self._latest: datetime | None = None

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Start the span of the invocation; make that of the execution current."""
        spans = InvocationSpans.begin(self._config, info)
        if spans is None:
            return
        self._first = info.is_first_invocation
        spans.surround(placeholder(spans.workflow), self._config)
        self._spans = spans

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Export the span of the invocation, and that of the execution if it has ended."""
        spans, self._spans = self._spans, None
        if spans is not None:
            spans.end(info, self._latest)

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Remember the operation; its span is exported when it ends."""
        if self._spans is None:
            return
        _mark_live(_around.get())
        if info.operation_type is OperationType.CONTEXT:
            self._recorded.add(info.operation_id)
        else:
            self._opened(self._spans, info)

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Export the span of the operation, unless it is only replayed."""
        if self._spans is None:
            return
        with self._lock:
            known = self._open.pop(info.operation_id, None)
        operation = known or _Open(self._spans.trace.operation(info.operation_id))
        replayed = operation.virtual and not (operation.live or self._first)
        if not info.is_replayed and not replayed:
            _mark_live(_around.get())
            operation.widen(info.start_time, info.end_time)
            self._export(self._spans, info, operation)

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Start the span of an attempt; make it, or that of a context, current."""
        spans = self._spans
        if spans is None or info.is_replay_children:
            return
        operation = self._opened(spans, info)
        operation.widen(info.start_time, None)
        if info.operation_type is OperationType.STEP:
            started = info.start_time
            spans.begin_attempt(info, operation.span, spans.invocation, started=started)
            return
        operation.outer = _around.get()
        _around.set(operation)
        spans.enter(info, placeholder(operation.span))

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Export the span of the attempt; restore the current span."""
        spans = self._spans
        if spans is None or info.is_replay_children:
            return
        ended = _end_after(info.start_time, info.end_time)
        with self._lock:
            operation = self._open.get(info.operation_id)
        if operation is not None:
            operation.widen(None, ended)
        if info.operation_type is OperationType.STEP:
            spans.end_attempt(info, None if ended is None else to_epoch_ns(ended))
            return
        if operation is not None:
            _around.set(operation.outer)
        spans.leave(info)

    def _opened(
        self, spans: InvocationSpans, info: OperationStartInfo | UserFunctionStartInfo
    ) -> _Open:
        """Return the state of an open operation, created if needed."""
        id_ = info.operation_id
        virtual = info.operation_type is OperationType.CONTEXT and id_ not in self._recorded
        with self._lock:
            if id_ not in self._open:
                span = spans.trace.segment() if virtual else spans.trace.operation(id_)
                self._open[id_] = _Open(span, virtual, started=info.start_time)
            return self._open[id_]

    def _export(self, spans: InvocationSpans, info: OperationEndInfo, operation: _Open) -> None:
        trace = spans.trace
        span = trace.start(
            name_of(info),
            spans.workflow if info.parent_id is None else trace.operation(info.parent_id),
            of_operation(trace.execution_arn, info),
            span_id=operation.span.span_id,
            started=operation.started or operation.ended,
            links=(spans.invocation,),
        )
        set_operation_outcome(span, info)
        self._note(info.parent_id, operation)
        ended = _end_after(operation.started, operation.ended)
        spans.export(span, info, None if ended is None else to_epoch_ns(ended))

    def _note(self, parent_id: str | None, ended: _Open) -> None:
        with self._lock:
            parent = None if parent_id is None else self._open.get(parent_id)
            if parent is not None:
                parent.widen(ended.started, ended.ended)
            if ended.ended is not None:
                self._latest = max(self._latest or ended.ended, ended.ended)


def _mark_live(context: _Open | None) -> None:
    while context is not None and not context.live:
        context.live = True
        context = context.outer


def _end_after(started: datetime | None, ended: datetime | None) -> datetime | None:
    """Return the end of a span, which backends require to be after its start."""
    if ended is None:
        return None
    return max(ended, (started or ended) + timedelta(microseconds=1))
