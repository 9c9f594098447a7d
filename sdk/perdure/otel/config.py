"""What both plugins can be told."""

from dataclasses import dataclass

from opentelemetry.sdk.trace import TracerProvider

from perdure.otel.extractors import ContextExtractor


@dataclass
class OtelPluginConfig:
    """How executions become spans. Names and defaults are those of the AWS package, version 2.0.

    `tracer_provider`: makes the spans; by default the global one, asked for in each invocation.
    `context_extractor`: which trace an execution joins; by default its trace header says so, in
    the form of X-Ray or as a W3C traceparent. `instrument_name` is the scope of all spans, and
    `workflow_span_name` the name of that of the whole execution. `enrich_logger`: have the
    handlers of the root logger add trace ids to records.
    """

    tracer_provider: TracerProvider | None = None
    context_extractor: ContextExtractor | None = None
    instrument_name: str = "aws-durable-execution-sdk-python"
    workflow_span_name: str = "Workflow"
    enrich_logger: bool = True
