"""Spans of a function's executions, exported to memory."""

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanContext

from perdure.otel import (
    ExecutionOtelPluginFactory,
    InvocationOtelPluginFactory,
    OtelPluginConfig,
)

ROOT: Final = "DurableExecutionRoot"
Factory = ExecutionOtelPluginFactory | InvocationOtelPluginFactory
VIEWS: Final = (ExecutionOtelPluginFactory, InvocationOtelPluginFactory)


class Traces:
    """A tracer provider that exports to memory."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def view(self, kind: type[Factory] = ExecutionOtelPluginFactory, **config: Any) -> Factory:
        """Return a factory whose plugins export to here."""
        return kind(OtelPluginConfig(tracer_provider=self.provider, **config))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All exported spans, in that order."""
        return self._exporter.get_finished_spans()

    def names(self) -> list[str]:
        """Return the names of all spans, sorted."""
        return sorted(span.name for span in self.spans)

    def all(self, name: str) -> list[ReadableSpan]:
        """Return the spans of that name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only span of that name."""
        (span,) = self.all(name)
        return span

    def tree(self) -> dict[str, str | None]:
        """Return the name of each span's parent by the span's name; None is outside."""
        names = {id_of(span): span.name for span in self.spans}
        return {
            span.name: None if span.parent is None else names.get(span.parent.span_id)
            for span in self.spans
        }


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert isinstance(context, SpanContext)
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def trace_ids(spans: Iterable[ReadableSpan]) -> set[int]:
    return {context_of(span).trace_id for span in spans}


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span without the common beginning of their names."""
    return {name.removeprefix("durable."): value for name, value in (span.attributes or {}).items()}


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]
