"""Trace headers: the trace that an execution joins, and the one it passes to its invokes."""

from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import InvokeConfig
from perdure.otel import (
    ExecutionOtelPluginFactory,
    ExtractedContext,
    InvocationOtelPluginFactory,
    Sampling,
    w3c_client_context_extractor,
    xray_context_extractor,
)
from perdure.plugin import InvocationStartInfo
from perdure.testing import DurableFunctionTestRunner
from perdure.worker_api import Succeeded
from tests.otel.traces import ROOT, VIEWS, Factory, Traces, attributes_of, id_of, trace_ids
from tests.sdk.hosted import Hosted
from tests.sdk.recorder import Recorder, awaiting, blocking

TRACE = 0x5759E988BD862E3FE1BE46A994272793
SPAN = 0x53995C3F42CD8AD8
XRAY = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8"
W3C = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8"


def start_info(header: str | None) -> InvocationStartInfo:
    return InvocationStartInfo("r", "arn", is_first_invocation=True, trace_header=header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"{XRAY};Sampled=1", ExtractedContext(TRACE, SPAN, Sampling.SAMPLED)),
        (f" Sampled=0 ; {XRAY}", ExtractedContext(TRACE, SPAN, Sampling.NOT_SAMPLED)),
        (f"{XRAY};Sampled=?;Lineage=a:0", ExtractedContext(TRACE, SPAN, Sampling.UNDECIDED)),
        ("Sampled=0", ExtractedContext(None, None, Sampling.NOT_SAMPLED)),
        (XRAY.partition(";")[0], ExtractedContext(TRACE, None)),
        ("Root=1-00000000-000000000000000000000000;Parent=0000000000000000", None),
        ("Root=2-5759e988-bd862e3fe1be46a994272793", None),
        ("Root=1-5759e988-bd862e3fe1be46a99427279٣", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_of_xray_is_read(header: str | None, expected: ExtractedContext | None) -> None:
    assert xray_context_extractor(start_info(header)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"{W3C}-01", ExtractedContext(TRACE, SPAN, Sampling.SAMPLED)),
        (f" {W3C}-02 ", ExtractedContext(TRACE, SPAN, Sampling.NOT_SAMPLED)),
        (f"cc{W3C[2:]}-01-more", ExtractedContext(TRACE, SPAN, Sampling.SAMPLED)),
        (f"{W3C}-01-more", None),
        (f"ff{W3C[2:]}-01", None),
        (f"{W3C.upper()}-01", None),
        (f"00-{'0' * 32}-53995c3f42cd8ad8-01", None),
        (f"00-{TRACE:032x}-{'0' * 16}-01", None),
        (XRAY, None),
        (None, None),
    ],
)
def test_a_traceparent_is_read(header: str | None, expected: ExtractedContext | None) -> None:
    assert w3c_client_context_extractor(start_info(header)) == expected


def test_ids_of_a_context_are_valid_within_their_bits() -> None:
    assert ExtractedContext(1, 1).has_complete_remote_parent
    assert ExtractedContext(2**128 - 1, 2**64 - 1).has_complete_remote_parent
    assert not ExtractedContext(2**128, 1).has_valid_trace_id
    assert not ExtractedContext(1, 2**64).has_valid_parent_span_id
    assert not ExtractedContext(0, 1).has_complete_remote_parent
    assert not ExtractedContext(1, None).has_complete_remote_parent


def plain(context: DurableContext) -> int:
    return context.step(lambda _: 1, "one")


def start_with(header: str, function: DurableFunction) -> None:
    """Start an execution with a trace header, as a chained invoke does."""
    with DurableFunctionTestRunner(blocking(call, Recorder(header))) as runner:
        runner.register_durable_function("child", function)
        assert runner.run(None).value == 1


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("header", [f"{XRAY};Sampled=1", f"{W3C}-01"])
def test_an_execution_joins_the_trace_of_its_header(header: str, view: type[Factory]) -> None:
    traces = Traces(ALWAYS_OFF)  # the header has decided
    start_with(header, blocking(plain, traces.view(view)))
    assert trace_ids(traces.spans) == {TRACE}
    assert ROOT not in traces.names()
    above = {span.parent.span_id for span in traces.spans if span.parent is not None}
    assert SPAN in above
    for name in ("Workflow", "Invocation"):
        parent = traces.all(name)[0].parent
        assert parent is not None
        assert (parent.span_id, parent.is_remote) == (SPAN, True)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("header", [f"{XRAY};Sampled=0", f"{W3C}-00"])
def test_a_header_that_declines_records_nothing(header: str, view: type[Factory]) -> None:
    traces = Traces()
    start_with(header, blocking(plain, traces.view(view)))
    assert traces.spans == ()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_sampler_decides_about_traces_as_wholes(ratio: float, view: type[Factory]) -> None:
    traces = Traces(TraceIdRatioBased(ratio))
    Hosted(blocking(plain, traces.view(view))).finish()
    assert len(traces.spans) == (5 if ratio else 0)


def test_an_extractor_of_ones_own_is_asked() -> None:
    traces = Traces()

    def extract(_: InvocationStartInfo) -> ExtractedContext:
        return ExtractedContext(TRACE, None)

    mine = traces.view(context_extractor=extract)
    Hosted(blocking(plain, mine)).finish()
    assert trace_ids(traces.spans) == {TRACE}
    assert traces.tree()["Workflow"] == ROOT


def xray_header(_: InvocationStartInfo) -> str:
    return f"{XRAY};Sampled=1"


def test_an_extractor_that_returns_nonsense_stops_traces_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    traces = Traces()
    host = Hosted(blocking(plain, traces.view(context_extractor=xray_header)))
    assert host.finish() == Succeeded("1")
    assert traces.spans == ()
    assert "context_extractor must return an ExtractedContext or None" in caplog.text


def call(context: DurableContext) -> Any:
    return context.invoke("child", 1, "call", InvokeConfig[int, Any]())


async def async_call(context: AsyncDurableContext) -> Any:
    return await context.invoke("child", 1, "call")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("waits", [False, True])
def test_a_chained_invoke_and_what_it_starts_are_one_trace(
    view: type[Factory], *, waits: bool
) -> None:
    traces = Traces()
    mine = traces.view(view)
    parent = awaiting(async_call, mine) if waits else blocking(call, mine)
    child = blocking(plain, traces.view(view, workflow_span_name="Child"))
    with DurableFunctionTestRunner(parent) as runner:
        runner.register_durable_function("child", child)
        assert runner.run(None).value == 1
    assert len(trace_ids(traces.spans)) == 1
    assert traces.names().count(ROOT) == 1
    assert traces.tree()["Child"] == "call"
    own = next(span for span in traces.all("call"))
    assert attributes_of(own)["operation.type"] == "CHAINED_INVOKE"
    above = traces.one("Child").parent
    assert above is not None
    assert above.span_id == id_of(own)


def test_a_trace_that_is_not_recorded_says_so_to_what_is_invoked() -> None:
    for kind in (ExecutionOtelPluginFactory, InvocationOtelPluginFactory):
        traces, below = Traces(ALWAYS_OFF), Traces()
        with DurableFunctionTestRunner(blocking(call, traces.view(kind))) as runner:
            runner.register_durable_function("child", blocking(plain, below.view(kind)))
            assert runner.run(None).value == 1
        assert traces.spans == below.spans == ()
