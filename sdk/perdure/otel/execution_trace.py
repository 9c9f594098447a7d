"""Trace of one execution: its ids, its sampling decision, and the spans started in it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags

from perdure.otel.attributes import SYNTHETIC, Attributes, of_execution
from perdure.otel.config import OtelPluginConfig
from perdure.otel.extractors import ExtractedContext, either_context_extractor
from perdure.otel.ids import (
    DeterministicIdGenerator,
    derive_execution_root_span_id,
    derive_trace_id,
    derive_workflow_span_id,
    operation_id_to_span_id,
)
from perdure.otel.provider import create_tracer_provider, flush_at_exit
from perdure.otel.sampling import ExecutionSampler, decided, resolve
from perdure.plugins.hooks import InvocationStartInfo
from perdure_core.timestamps import to_epoch_ns

_ROOT_NAME: Final = "DurableExecutionRoot"

_log = logging.getLogger("perdure")


@dataclass(frozen=True)
class ExecutionTrace:
    """The trace ids, equal in all invocations of an execution, and the tracer of this process.

    `ancestor` is the parent of the spans of the execution and of its invocations: the span that
    the trace header names, or a root span created here.
    """

    execution_arn: str
    started: datetime
    ancestor: SpanContext
    sampling: SamplingResult
    tracer: Tracer
    ids: DeterministicIdGenerator

    @classmethod
    def of(cls, config: OtelPluginConfig, info: InvocationStartInfo) -> "ExecutionTrace | None":
        """Return the trace of an execution; None, with a warning, where there is none.

        Raises `TypeError` if the configured extractor returns another type.
        """
        provider = create_tracer_provider(config).tracer_provider
        tracer = provider.get_tracer(config.instrument_name)
        if not isinstance(tracer, Tracer):
            _warn("No traces: no TracerProvider of the OpenTelemetry SDK is configured.")
            return None
        if not info.execution_arn or info.execution_start_time is None:
            _warn("No traces: the ARN of the execution or its start are unknown.")
            return None
        flush_at_exit(provider)
        arn, started = info.execution_arn, info.execution_start_time
        extracted = _extracted(config, info)
        trace_id = _joined(extracted) or derive_trace_id(arn, started)
        ids = DeterministicIdGenerator.install_on_tracer(tracer)
        sampler = ExecutionSampler.install_on_tracer(tracer).previous
        name = config.workflow_span_name
        sampling = resolve(extracted, sampler, trace_id, name, of_execution(arn))
        ancestor = _ancestor(arn, trace_id, extracted, sampling)
        return cls(arn, started, ancestor, sampling, tracer, ids)

    def start(
        self,
        name: str,
        parent: SpanContext,
        attributes: Attributes,
        *,
        span_id: int | None = None,
        started: datetime | None = None,
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """Start a span, now or at `started`; without `span_id` it gets a random id."""
        parent_context = trace.set_span_in_context(NonRecordingSpan(parent), Context())
        with self.ids.use_ids(trace_id=None, span_id=span_id):
            return self.tracer.start_span(
                name,
                decided(parent_context, self.sampling),
                attributes=attributes,
                links=[Link(context) for context in links],
                start_time=None if started is None else to_epoch_ns(started),
            )

    def start_root(self) -> Span:
        """Start the root span, which ends at its start time: the start of the execution."""
        attributes = of_execution(self.execution_arn) | {SYNTHETIC: True}
        at = to_epoch_ns(self.started)
        with self.ids.use_ids(trace_id=self.ancestor.trace_id, span_id=self.ancestor.span_id):
            return self.tracer.start_span(
                _ROOT_NAME,
                decided(Context(), self.sampling),
                attributes=attributes,
                start_time=at,
            )

    def workflow(self) -> SpanContext:
        """Return the span of the whole execution."""
        return self._context(derive_workflow_span_id(self.execution_arn))

    def operation(self, operation_id: str) -> SpanContext:
        """Return the span of an operation, equal in all invocations."""
        return self._context(operation_id_to_span_id(self.execution_arn, operation_id))

    def segment(self) -> SpanContext:
        """Return a span of this invocation alone."""
        return self._context(self.ids.generate_span_id())

    def header(self, operation_id: str) -> str:
        """Return the trace header, in X-Ray's format, of an execution that an operation starts."""
        span = self.operation(operation_id)
        trace_id = trace.format_trace_id(span.trace_id)
        parent = trace.format_span_id(span.span_id)
        sampled = int(span.trace_flags.sampled)
        return f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={parent};Sampled={sampled}"

    def _context(self, span_id: int) -> SpanContext:
        ancestor = self.ancestor
        return SpanContext(
            ancestor.trace_id,
            span_id,
            is_remote=False,
            trace_flags=ancestor.trace_flags,
            trace_state=self.sampling.trace_state,
        )


def _extracted(config: OtelPluginConfig, info: InvocationStartInfo) -> ExtractedContext | None:
    extracted = (config.context_extractor or either_context_extractor)(info)
    if not isinstance(extracted, ExtractedContext | None):  # pyright: ignore[reportUnnecessaryIsInstance] - extractors may be untyped
        raise TypeError(
            f"context_extractor must return an ExtractedContext or None, got {type(extracted)}"
        )
    return extracted


def _joined(extracted: ExtractedContext | None) -> int | None:
    if extracted is None or not extracted.has_valid_trace_id:
        return None
    return extracted.trace_id


def _ancestor(
    arn: str, trace_id: int, extracted: ExtractedContext | None, sampling: SamplingResult
) -> SpanContext:
    remote = extracted is not None and extracted.has_complete_remote_parent
    parent = extracted.parent_span_id if extracted is not None and remote else None
    sampled = sampling.decision is Decision.RECORD_AND_SAMPLE
    return SpanContext(
        trace_id,
        parent or derive_execution_root_span_id(arn),
        is_remote=remote,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT),
    )


@cache
def _warn(message: str) -> None:
    """Log a warning once per process, since every invocation would repeat it."""
    _log.warning(message)
