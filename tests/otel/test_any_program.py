"""Tracing of any handler, wherever its worker dies: it neither fails nor exports twice."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from perdure import AsyncDurableContext, DurableContext, DurableFunction, StepContext
from perdure.config import (
    Duration,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
)
from perdure.testing import DurableFunctionTestRunner, for_each_crash
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from tests.otel.traces import VIEWS, Factory, Traces, attributes_of, id_of, trace_ids
from tests.sdk.recorder import awaiting, blocking

FLAT = ParallelConfig(nesting_type=NestingType.FLAT)
POLL = WaitForConditionConfig[int](
    wait_strategy=lambda state, _: (
        WaitForConditionDecision.stop_polling()
        if state > 1
        else WaitForConditionDecision.continue_waiting(Duration.from_seconds(9))
    ),
    initial_state=0,
)


def flaky(step: StepContext) -> int:
    if step.attempt == 1:
        raise ConnectionError("not yet")
    return 1


def slow(context: DurableContext) -> int:
    context.wait(Duration.from_seconds(3), "nap")
    return context.step(lambda _: 3, "slow")


def quick(context: DurableContext) -> int:
    return context.step(lambda _: 1, "quick")


def item(context: DurableContext, number: int, _index: int, _items: Any) -> int:
    return context.step(lambda _: number, f"item {number}")


def program(context: DurableContext) -> int:
    timely = StepConfig(timeout=Duration.from_minutes(1))
    total = context.step(flaky, "flaky", timely)
    total += sum(context.parallel([slow, quick], "flat", FLAT).get_results())
    total += sum(context.map([1, 2, 3], item, "map", MapConfig()).get_results())
    total += context.race([slow, quick], name="race")
    total += context.wait_for_condition(lambda state, _: state + 1, POLL, "poll")
    return total + context.invoke("child", 1, "call", InvokeConfig[int, int]())


async def async_slow(context: AsyncDurableContext) -> int:
    await context.wait(Duration.from_seconds(3), "nap")
    return await context.step(lambda _: 3, "slow")


async def async_quick(context: AsyncDurableContext) -> int:
    return await context.step(lambda _: 1, "quick")


async def async_item(context: AsyncDurableContext, number: int, _index: int, _items: Any) -> int:
    return await context.step(lambda _: number, f"item {number}")


async def async_program(context: AsyncDurableContext) -> int:
    timely = StepConfig(timeout=Duration.from_minutes(1))
    total = await context.step(flaky, "flaky", timely)
    total += sum((await context.parallel([async_slow, async_quick], "flat", FLAT)).get_results())
    total += sum((await context.map([1, 2, 3], async_item, "map", MapConfig())).get_results())
    total += await context.race([async_slow, async_quick], name="race")
    total += await context.wait_for_condition(lambda state, _: state + 1, POLL, "poll")
    called: int = await context.invoke("child", 1, "call")
    return total + called


KINDS: list[Callable[[Any], DurableFunction]] = [
    lambda view: blocking(program, view),
    lambda view: awaiting(async_program, view),
]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("view", VIEWS)
def test_no_crash_breaks_a_trace_or_exports_an_end_twice(
    make: Callable[[Any], DurableFunction], view: type[Factory], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[Traces] = []
    current: list[Any] = []

    class Fresh:
        """A plugin factory that exports each run to traces of its own."""

        def create_plugin(self, info: Any) -> Any:
            return current[-1].create_plugin(info)

    def prepare(runner: DurableFunctionTestRunner) -> None:
        runs.append(Traces())
        current.append(runs[-1].view(view))
        runner.register_durable_function("child", blocking(quick, Fresh()))

    results = for_each_crash(make(Fresh()), prepare=prepare)
    assert results[0].value == 1 + 4 + 6 + 1 + 2 + 1
    assert len(runs) == len(results) > 10
    assert "failed in its hook" not in caplog.text
    for traces in runs:
        assert len(trace_ids(traces.spans)) == 1
        ends = [
            operation_of(attributes_of(s))
            for s in traces.spans
            if ended_by_record(attributes_of(s))
        ]
        assert [id_ for id_, count in Counter(ends).items() if count > 1] == []
        ids = [id_of(span) for span in traces.spans]
        assert len(ids) == len(set(ids))
        assert all(span.end_time is not None for span in traces.spans)


def operation_of(attributes: dict[str, Any]) -> tuple[str, str]:
    return attributes["execution.arn"], attributes["operation.id"]


def ended_by_record(attributes: dict[str, Any]) -> bool:
    status = attributes.get("operation.status")
    virtual = attributes.get("operation.subtype") == "ParallelBranch"
    return status in ("SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED") and not virtual


@pytest.mark.parametrize("view", VIEWS)
def test_a_body_with_a_thread_of_its_own_is_in_its_attempt(view: type[Factory]) -> None:
    traces = Traces()
    seen: list[int] = []

    def look(_: StepContext) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    def body(context: DurableContext) -> None:
        context.step(look, "timed", StepConfig(timeout=Duration.from_minutes(1)))

    with DurableFunctionTestRunner(blocking(body, traces.view(view))) as runner:
        runner.run(None)
    assert seen == [id_of(traces.one("timed attempt 1"))]
