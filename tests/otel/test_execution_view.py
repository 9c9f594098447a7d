"""The view of executions: one tree, whichever invocations, crashes and branches it took."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from perdure import AsyncDurableContext, DurableContext, DurableFunction, StepContext
from perdure.config import ChildConfig, Duration, NestingType, ParallelConfig
from perdure.otel import derive_workflow_span_id, operation_id_to_span_id
from perdure.testing import Crash, DurableFunctionTestRunner
from perdure.worker_api import InvocationLost
from tests.otel.traces import ROOT, Traces, attributes_of, id_of, linked, times, trace_ids
from tests.sdk.recorder import awaiting, blocking

WEEK = Duration.from_days(7)


def flaky(step: StepContext) -> int:
    if step.attempt == 1:
        raise ConnectionError("not yet")
    return 1


def program(context: DurableContext) -> int:
    first = context.step(flaky, "flaky")
    context.wait(WEEK, "week")
    both = context.parallel([left, rest], "both", ParallelConfig())
    return first + sum(both.get_results(), 0)


def left(context: DurableContext) -> int:
    return context.step(lambda _: 1, "left")


def rest(context: DurableContext) -> int:
    context.wait(Duration.from_seconds(5), "rest")
    return context.step(lambda _: 2, "right")


async def async_program(context: AsyncDurableContext) -> int:
    first = await context.step(flaky, "flaky")
    await context.wait(WEEK, "week")

    async def left(child: AsyncDurableContext) -> int:
        return await child.step(lambda _: 1, "left")

    async def right(child: AsyncDurableContext) -> int:
        await child.wait(Duration.from_seconds(5), "rest")
        return await child.step(lambda _: 2, "right")

    both = await context.parallel([left, right], "both", ParallelConfig())
    return first + sum(both.get_results(), 0)


TREE = {
    ROOT: None,
    "Workflow": ROOT,
    "Invocation": ROOT,
    "flaky": "Workflow",
    "flaky attempt 1": "flaky",
    "flaky attempt 2": "flaky",
    "week": "Workflow",
    "both": "Workflow",
    "parallel-branch-0": "both",
    "left": "parallel-branch-0",
    "left attempt 1": "left",
    "parallel-branch-1": "both",
    "rest": "parallel-branch-1",
    "right": "parallel-branch-1",
    "right attempt 1": "right",
}

KINDS: list[Callable[[Any], DurableFunction]] = [
    lambda view: blocking(program, view),
    lambda view: awaiting(async_program, view),
]


@pytest.mark.parametrize("make", KINDS)
def test_an_execution_is_one_tree_over_all_its_invocations(
    make: Callable[[Any], DurableFunction],
) -> None:
    traces = Traces()
    with DurableFunctionTestRunner(make(traces.view())) as runner:
        arn = runner.run_async(None)
        assert runner.wait_for_result(arn).value == 4
    assert traces.tree() == TREE
    assert len(trace_ids(traces.spans)) == 1
    counts = Counter(traces.names())
    assert counts.pop("Invocation") > 2
    assert set(counts.values()) == {1}
    assert id_of(traces.one("Workflow")) == derive_workflow_span_id(arn)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("checkpoint", range(1, 7))
def test_a_crash_and_its_replay_export_nothing_twice(
    make: Callable[[Any], DurableFunction], checkpoint: int
) -> None:
    traces = Traces()
    crash = Crash(checkpoint, accepted=False)
    with DurableFunctionTestRunner(make(traces.view()), crash_at=crash) as runner:
        assert runner.run(None).value == 4
    assert len(trace_ids(traces.spans)) == 1
    ended = [
        s for s in traces.spans if "operation.status" in attributes_of(s) or s.name == "Workflow"
    ]
    assert set(Counter(id_of(span) for span in ended).values()) == {1}
    assert {span.name for span in ended} >= {"flaky", "week", "both", "left", "right", "Workflow"}
    assert "RETRYING" in [attributes_of(span).get("invocation.status") for span in traces.spans]


def test_spans_say_what_they_are() -> None:
    traces = Traces()
    with DurableFunctionTestRunner(blocking(program, traces.view())) as runner:
        arn = runner.run_async(None)
        step = runner.wait_for_result(arn).get_step("flaky")
    identity = {
        "execution.arn": arn,
        "operation.id": step.operation_id,
        "operation.type": "STEP",
        "operation.subtype": "Step",
        "operation.name": "flaky",
    }
    assert attributes_of(traces.one("flaky")) == {
        **identity,
        "operation.status": "SUCCEEDED",
        "attempt.number": 2,
    }
    attempts = [attributes_of(traces.one(f"flaky attempt {number}")) for number in (1, 2)]
    assert attempts == [
        {**identity, "attempt.number": 1, "attempt.outcome": "FAILED"},
        {**identity, "attempt.number": 2, "attempt.outcome": "SUCCEEDED"},
    ]
    assert attributes_of(traces.one("Workflow")) == {
        "execution.arn": arn,
        "execution.status": "SUCCEEDED",
    }
    first, *others = traces.all("Invocation")
    assert attributes_of(first) == {
        "execution.arn": arn,
        "invocation.first": True,
        "invocation.status": "PENDING",
    }
    assert [attributes_of(span)["invocation.first"] for span in others] == [False] * len(others)
    assert attributes_of(others[-1])["invocation.status"] == "SUCCEEDED"
    assert id_of(traces.one("flaky")) == operation_id_to_span_id(arn, step.operation_id)


def test_a_span_is_as_long_as_its_operation_and_links_to_the_invocation_that_exports_it() -> None:
    traces = Traces()
    with DurableFunctionTestRunner(blocking(program, traces.view())) as runner:
        runner.run(None)
    start, end = times(traces.one("week"))
    assert end - start == WEEK.to_seconds() * 10**9
    assert {link for span in traces.all("week") for link in linked(span)} <= {
        id_of(span) for span in traces.all("Invocation")
    }
    for child, parent in TREE.items():
        if parent not in (None, ROOT):
            (inner, outer) = times(traces.one(child)), times(traces.one(parent))
            assert outer[0] <= inner[0] < inner[1] <= outer[1], child


def test_errors_are_the_status_of_spans() -> None:
    def fail(_: StepContext) -> int:
        raise ValueError("no such order")

    def body(context: DurableContext) -> Any:
        return context.run_in_child_context(lambda child: child.step(fail, "find"), "child")

    traces = Traces()
    with DurableFunctionTestRunner(blocking(body, traces.view())) as runner:
        assert runner.run(None).execution_status == "FAILED"
    for name in ("find", "child", "Workflow", "Invocation"):
        span = traces.all(name)[-1]
        assert span.status.status_code is StatusCode.ERROR
        assert "no such order" in (span.status.description or "")
    (event,) = traces.all("find")[-1].events
    assert event.name == "exception"
    assert (event.attributes or {})["exception.type"] == "ValueError"
    assert "fail" in str((event.attributes or {})["exception.stacktrace"])


def test_spans_of_a_handler_are_below_what_runs() -> None:
    traces = Traces()
    tracer = traces.provider.get_tracer("shop")

    def seen(name: str) -> None:
        tracer.start_span(name).end()

    def within(child: DurableContext) -> None:
        seen("in the child")
        child.step(lambda _: seen("in the step"), "pay")
        seen("in the child again")

    def body(context: DurableContext) -> None:
        seen("before")
        context.run_in_child_context(within, "child")
        seen("after")

    async def async_within(child: AsyncDurableContext) -> None:
        seen("in the child")
        await child.step(lambda _: seen("in the step"), "pay")
        seen("in the child again")

    async def async_body(context: AsyncDurableContext) -> None:
        seen("before")
        await context.run_in_child_context(async_within, "child")
        seen("after")

    for function in (blocking(body, traces.view()), awaiting(async_body, traces.view())):
        with DurableFunctionTestRunner(function) as runner:
            runner.run(None)
        tree = traces.tree()
        assert {name: tree[name] for name in tree if name.startswith(("in", "be", "af"))} == {
            "before": "Workflow",
            "in the child": "child",
            "in the step": "pay attempt 1",
            "in the child again": "child",
            "after": "Workflow",
        }
        assert not trace.get_current_span().get_span_context().is_valid


def test_a_branch_that_is_not_recorded_is_exported_where_something_happened_in_it() -> None:
    traces = Traces()
    config = ParallelConfig(nesting_type=NestingType.FLAT)

    def body(context: DurableContext) -> None:
        context.parallel([lambda c: c.step(lambda _: 1, "one"), rest], "both", config)
        context.wait(WEEK, "week")
        context.run_in_child_context(lambda _: None, "empty", ChildConfig(is_virtual=True))

    with DurableFunctionTestRunner(blocking(body, traces.view())) as runner:
        runner.run(None)
    assert len(trace_ids(traces.spans)) == 1
    counts = Counter(traces.names())
    assert (counts["parallel-branch-0"], counts["parallel-branch-1"]) == (1, 1)
    assert (counts["one"], counts["right"], counts["both"]) == (1, 1, 1)


def test_a_result_made_again_from_its_children_is_not_exported_again() -> None:
    traces = Traces()

    def large(child: DurableContext) -> str:
        return child.step(lambda _: "x", "seed") * 300_000

    def body(context: DurableContext) -> int:
        size = len(context.run_in_child_context(large, "large"))
        context.wait(WEEK, "week")
        return size

    with DurableFunctionTestRunner(blocking(body, traces.view())) as runner:
        assert runner.run(None).value == 300_000
    assert len(traces.all("large")) == 1


def test_an_attempt_that_is_cut_short_says_so() -> None:
    traces = Traces()

    def stop(_: StepContext) -> int:
        raise InvocationLost

    def body(context: DurableContext) -> int:
        return context.step(stop if not stopped else lambda _: 1, "step")

    stopped: list[int] = []

    def once(context: DurableContext) -> int:
        try:
            return body(context)
        finally:
            stopped.append(1)

    with DurableFunctionTestRunner(blocking(once, traces.view())) as runner:
        assert runner.run(None).value == 1
    cut = [
        span
        for span in traces.spans
        if attributes_of(span).get("span.truncated_at_invocation_boundary")
    ]
    assert [attributes_of(span)["attempt.outcome"] for span in cut] == ["INCOMPLETE"]
    assert len(traces.all("step")) == 1
