"""The view of invocations: a tree for each, exported when it ends."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import Duration
from perdure.otel import (
    InvocationOtelPluginFactory,
    derive_workflow_span_id,
    operation_id_to_span_id,
)
from perdure.testing import Crash, DurableFunctionTestRunner
from tests.otel.traces import ROOT, Traces, attributes_of, id_of, linked, trace_ids
from tests.sdk.recorder import awaiting, blocking

DAY = Duration.from_days(1)


def nap(child: DurableContext) -> int:
    child.wait(DAY, "nap")
    return child.step(lambda _: 2, "after")


def program(context: DurableContext) -> int:
    first = context.step(lambda _: 1, "before")
    return first + context.run_in_child_context(nap, "child")


async def async_nap(child: AsyncDurableContext) -> int:
    await child.wait(DAY, "nap")
    return await child.step(lambda _: 2, "after")


async def async_program(context: AsyncDurableContext) -> int:
    first = await context.step(lambda _: 1, "before")
    return first + await context.run_in_child_context(async_nap, "child")


KINDS: list[Callable[[Any], DurableFunction]] = [
    lambda view: blocking(program, view),
    lambda view: awaiting(async_program, view),
]


@pytest.mark.parametrize("make", KINDS)
def test_each_invocation_is_a_tree_of_what_it_did(make: Callable[[Any], DurableFunction]) -> None:
    traces = Traces()
    view = traces.view(InvocationOtelPluginFactory)
    with DurableFunctionTestRunner(make(view)) as runner:
        arn = runner.run_async(None)
        result = runner.wait_for_result(arn)
    assert result.value == 3
    assert len(trace_ids(traces.spans)) == 1
    assert traces.tree() == {
        ROOT: None,
        "Workflow": ROOT,
        "Invocation": ROOT,
        "before": "Invocation",
        "before attempt 1": "before",
        "child": "Invocation",
        "nap": "child",
        "after": "child",
        "after attempt 1": "after",
    }
    names = [span.name for span in traces.spans]
    first = names.index("Invocation") + 1
    assert sorted(names[:first]) == sorted(
        [ROOT, "before attempt 1", "before", "nap", "child", "Invocation"]
    )
    assert sorted(names[first:]) == sorted(
        ["nap", "after attempt 1", "after", "child", "Invocation", "Workflow"]
    )


def test_an_operation_of_several_invocations_has_a_span_in_each_which_links_to_it() -> None:
    traces = Traces()
    view = traces.view(InvocationOtelPluginFactory)
    with DurableFunctionTestRunner(blocking(program, view)) as runner:
        arn = runner.run_async(None)
        wait = runner.wait_for_result(arn).get_wait("nap")
    workflow = derive_workflow_span_id(arn)
    own = operation_id_to_span_id(arn, wait.operation_id)
    one, two = traces.all("nap")
    assert (id_of(one), linked(one)) == (own, [workflow])
    assert id_of(two) != own
    assert linked(two) == [own, workflow]
    assert [attributes_of(span)["operation.status"] for span in (one, two)] == [
        "STARTED",
        "SUCCEEDED",
    ]
    assert linked(traces.one("after attempt 1")) == [workflow]


@pytest.mark.parametrize("checkpoint", range(1, 6))
@pytest.mark.parametrize("accepted", [False, True])
def test_a_crash_keeps_all_in_one_trace_and_no_ended_operation_comes_again(
    checkpoint: int, *, accepted: bool
) -> None:
    traces = Traces()
    view = traces.view(InvocationOtelPluginFactory)
    crash = Crash(checkpoint, accepted=accepted)
    with DurableFunctionTestRunner(blocking(program, view), crash_at=crash) as runner:
        assert runner.run(None).value == 3
    assert len(trace_ids(traces.spans)) == 1
    done = [
        span.name
        for span in traces.spans
        if attributes_of(span).get("operation.status") == "SUCCEEDED"
    ]
    assert len(done) == len(set(done))
    assert traces.names().count("Workflow") == 1


def test_the_span_of_the_invocation_is_current_in_the_handler() -> None:
    traces = Traces()
    seen: list[int] = []

    def body(context: DurableContext) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)
        context.step(
            lambda _: seen.append(trace.get_current_span().get_span_context().span_id), "s"
        )

    view = traces.view(InvocationOtelPluginFactory)
    with DurableFunctionTestRunner(blocking(body, view)) as runner:
        runner.run(None)
    assert seen == [id_of(traces.one("Invocation")), id_of(traces.one("s attempt 1"))]


def test_what_is_left_open_ends_with_its_invocation() -> None:
    traces = Traces()
    with DurableFunctionTestRunner(
        blocking(program, traces.view(InvocationOtelPluginFactory))
    ) as runner:
        runner.run(None)
    assert all(span.end_time is not None for span in traces.spans)
    assert len(traces.all("child")) == 2
