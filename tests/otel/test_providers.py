"""Tracer providers: which one is used, and that a slow or broken one affects no handler."""

import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from perdure import DurableContext, DurableFunction
from perdure.exceptions import PluginLoadError
from perdure.otel import (
    EXECUTION_OTEL_PLUGIN_FACTORY,
    INVOCATION_OTEL_PLUGIN_FACTORY,
    ExecutionOtelPluginFactory,
    InvocationOtelPluginFactory,
    OtelPluginConfig,
    ProviderResult,
    create_tracer_provider,
)
from perdure.plugins.loading import load_plugins
from perdure.worker_api import Succeeded
from tests.otel.traces import VIEWS, Factory, Traces
from tests.sdk.hosted import Hosted
from tests.sdk.recorder import blocking


def body(context: DurableContext) -> int:
    return context.step(lambda _: 1, "one")


def made_for(provider: TracerProvider, view: type[Factory]) -> DurableFunction:
    return blocking(body, view(OtelPluginConfig(tracer_provider=provider)))


def test_a_provider_that_is_given_is_used_and_the_global_one_otherwise() -> None:
    mine = TracerProvider(shutdown_on_exit=False)
    provider = create_tracer_provider(OtelPluginConfig(tracer_provider=mine))
    assert provider == ProviderResult(mine, uses_global_provider=False)
    default = create_tracer_provider(OtelPluginConfig())
    assert default == ProviderResult(trace.get_tracer_provider(), uses_global_provider=True)


def test_without_a_provider_of_the_sdk_there_are_no_traces_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        function = blocking(body, EXECUTION_OTEL_PLUGIN_FACTORY)
        assert Hosted(function).finish() == Succeeded("1")
    assert caplog.text.count("no TracerProvider of the OpenTelemetry SDK") <= 1
    assert "failed in its hook" not in caplog.text


class BrokenProcessor(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("broken processor")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("broken processor")


@pytest.mark.parametrize("view", VIEWS)
def test_a_processor_that_breaks_breaks_no_handler(
    view: type[Factory], caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BrokenProcessor())
    assert Hosted(made_for(provider, view)).finish() == Succeeded("1")
    assert "broken processor" in caplog.text


class Stuck(SpanExporter):
    """An exporter that blocks until it is released."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken: list[str] = []

    def export(self, spans: Any) -> SpanExportResult:
        assert self.go.wait(60)
        self.taken.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS


@pytest.mark.parametrize("view", VIEWS)
def test_no_handler_waits_for_an_exporter(view: type[Factory]) -> None:
    stuck = Stuck()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(stuck, max_export_batch_size=1))
    assert Hosted(made_for(provider, view)).finish() == Succeeded("1")
    assert stuck.taken == []
    stuck.go.set()
    provider.shutdown()
    assert {"Workflow", "Invocation", "one", "one attempt 1"} <= set(stuck.taken)


@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("otel-execution", EXECUTION_OTEL_PLUGIN_FACTORY),
        ("otel-invocation", INVOCATION_OTEL_PLUGIN_FACTORY),
    ],
)
def test_the_environment_chooses_a_view_by_name(name: str, factory: object) -> None:
    assert load_plugins((), {"DURABLE_EXECUTION_PLUGINS": name}) == (factory,)


def test_a_function_has_one_view_at_most() -> None:
    with pytest.raises(PluginLoadError, match="exclusive group"):
        load_plugins((ExecutionOtelPluginFactory(), InvocationOtelPluginFactory()), {})
    with pytest.raises(PluginLoadError, match="exclusive group"):
        load_plugins(
            (ExecutionOtelPluginFactory(),), {"DURABLE_EXECUTION_PLUGINS": "otel-invocation"}
        )


def test_scopes_have_the_name_of_the_configuration() -> None:
    traces = Traces()
    Hosted(blocking(body, traces.view(instrument_name="mine", workflow_span_name="Order"))).finish()
    scopes = {
        span.instrumentation_scope.name for span in traces.spans if span.instrumentation_scope
    }
    assert scopes == {"mine"}
    assert traces.names().count("Order") == 1


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_sdk_does_not_load_opentelemetry() -> None:
    found = run("import perdure, perdure.testing, sys; print('opentelemetry' in sys.modules)")
    assert found.stdout == "False\n", found.stderr


def test_a_missing_library_is_named_with_what_to_install() -> None:
    found = run(
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "try: import perdure.otel\n"
        "except ModuleNotFoundError as error: print(error)\n"
        "from perdure.plugins.loading import load_plugins\n"
        "try: load_plugins((), {'DURABLE_EXECUTION_PLUGINS': 'otel-execution'})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    first, second = found.stdout.splitlines()
    assert "Traces require: pip install 'perdure[otel]'" in first
    assert second.startswith("PluginLoadError")
    assert "pip install 'perdure[otel]'" in second


def test_what_a_process_holds_is_exported_when_it_ends() -> None:
    found = run(
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter\n"
        "from perdure.otel import ExecutionOtelPluginFactory, OtelPluginConfig\n"
        "from perdure import durable_execution\n"
        "from perdure.testing import DurableFunctionTestRunner\n"
        "provider = TracerProvider(shutdown_on_exit=False)\n"
        "provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))\n"
        "view = ExecutionOtelPluginFactory(OtelPluginConfig(tracer_provider=provider))\n"
        "handle = durable_execution(name='handle', plugins=[view])(lambda event, context: 1)\n"
        "with DurableFunctionTestRunner(handle) as runner: runner.run(None)\n"
    )
    assert found.returncode == 0, found.stderr
    assert '"name": "Workflow"' in found.stdout
