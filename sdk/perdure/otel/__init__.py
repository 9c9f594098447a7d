"""OpenTelemetry traces of executions: `pip install 'perdure[otel]'`.

    @durable_execution(plugins=[ExecutionOtelPluginFactory()])

All invocations of an execution, in any process, and the executions that it starts form one trace.
Names and defaults are those of the OpenTelemetry package of the AWS SDK, version 2.0; See
`docs/tracing.md`.
"""

try:
    import opentelemetry.sdk.trace as _sdk
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed. Traces require: pip install 'perdure[otel]'",
        name=error.name,
    ) from error

from perdure.otel.config import OtelPluginConfig
from perdure.otel.execution_plugin import ExecutionOtelPlugin
from perdure.otel.extractors import (
    ContextExtractor,
    ExtractedContext,
    Sampling,
    w3c_client_context_extractor,
    xray_context_extractor,
)
from perdure.otel.factories import (
    EXECUTION_OTEL_PLUGIN_FACTORY,
    INVOCATION_OTEL_PLUGIN_FACTORY,
    ExecutionOtelPluginFactory,
    InvocationOtelPluginFactory,
)
from perdure.otel.ids import (
    DeterministicIdGenerator,
    derive_execution_root_span_id,
    derive_workflow_span_id,
    operation_id_to_span_id,
)
from perdure.otel.invocation_plugin import InvocationOtelPlugin
from perdure.otel.log_filter import OtelContextLogFilter, install_log_filter
from perdure.otel.provider import ProviderResult, create_tracer_provider

__all__ = [
    "EXECUTION_OTEL_PLUGIN_FACTORY",
    "INVOCATION_OTEL_PLUGIN_FACTORY",
    "ContextExtractor",
    "DeterministicIdGenerator",
    "ExecutionOtelPlugin",
    "ExecutionOtelPluginFactory",
    "ExtractedContext",
    "InvocationOtelPlugin",
    "InvocationOtelPluginFactory",
    "OtelContextLogFilter",
    "OtelPluginConfig",
    "ProviderResult",
    "Sampling",
    "create_tracer_provider",
    "derive_execution_root_span_id",
    "derive_workflow_span_id",
    "install_log_filter",
    "operation_id_to_span_id",
    "w3c_client_context_extractor",
    "xray_context_extractor",
]

del _sdk
