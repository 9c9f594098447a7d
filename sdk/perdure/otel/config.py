"""Configuration of both plugins."""

from dataclasses import dataclass

from opentelemetry.sdk.trace import TracerProvider

from perdure.otel.extractors import ContextExtractor


@dataclass
class OtelPluginConfig:
    """Configuration of traces. Names and defaults are those of the AWS package, version 2.0.

    `tracer_provider`: creates the spans; by default the global one, looked up in each invocation.
    `context_extractor`: returns the trace that an execution joins; by default that of its trace
    header, in the format of X-Ray or as a W3C traceparent. `instrument_name` is the scope of all
    spans, and `workflow_span_name` the name of that of the whole execution. `enrich_logger`:
    whether the handlers of the root logger add trace ids to records.
    """

    tracer_provider: TracerProvider | None = None
    context_extractor: ContextExtractor | None = None
    instrument_name: str = "aws-durable-execution-sdk-python"
    workflow_span_name: str = "Workflow"
    enrich_logger: bool = True
