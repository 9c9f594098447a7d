"""Functions that export their traces to the address in the environment, as a user's module does."""

from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from perdure import AsyncDurableContext, DurableContext, durable_execution
from perdure.otel import ExecutionOtelPluginFactory

# An hour between exports: what arrives was flushed.
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=3_600_000))
trace.set_tracer_provider(provider)


@durable_execution(plugins=[ExecutionOtelPluginFactory()])
def traced_order(_event: Any, context: DurableContext) -> Any:
    """Price, wait for a callback, and invoke."""
    price = context.step(lambda _: 7, "price")
    approved = context.create_callback("approval").result()
    return [price, approved, context.invoke("traced-shipping", price, "ship")]


@durable_execution(name="traced-shipping", plugins=[ExecutionOtelPluginFactory()])
async def traced_shipping(event: Any, context: AsyncDurableContext) -> Any:
    """Pack."""
    return await context.step(lambda _: event * 2, "pack")
