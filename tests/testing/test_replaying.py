"""Replays of old histories with new code: differences are reported in time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import CallbackConfig, ChildConfig, Duration, MapConfig
from perdure.testing import (
    DurableFunctionsTestError,
    DurableFunctionTestRunner,
    ExecutionHistory,
    InvocationStatus,
    ReplayMismatch,
    replay,
)
from perdure.worker_api import FunctionSettings
from tests.testing.programs import Flaky, approval, double, flaky, nested

Handler = Callable[[Any, DurableContext], Any]


@dataclass
class Order:
    amount: int


def history_of(handler: Any, payload: Any = None) -> ExecutionHistory:
    with DurableFunctionTestRunner(handler) as runner:
        # Results which are made again shall cost little.
        runner._service.result_bytes_max = 262_144  # pyright: ignore[reportPrivateUsage]
        return runner.run(payload).history


def unfinished(handler: Any, payload: Any = None) -> ExecutionHistory:
    """Return the history of an execution that waits for a callback."""
    with DurableFunctionTestRunner(handler) as runner:
        arn = runner.run_async(payload)
        runner.wait_for_callback(arn)
        return runner.get_execution_history(arn)


def three_steps(_event: Any, context: DurableContext) -> int:
    total = context.step(double(1), name="one")
    context.wait(Duration(5), name="rest")
    return total + context.step(double(2), name="two")


def test_the_code_that_wrote_a_history_agrees_with_it(tmp_path: Path) -> None:
    history = history_of(nested)
    history.save(tmp_path / "nested.json")
    report = replay(tmp_path / "nested.json", nested)
    assert (report.status, report.result) == (InvocationStatus.SUCCEEDED, "12")


def test_no_body_of_a_step_runs() -> None:
    body = Flaky(failures=2)
    history = history_of(flaky(body))
    body.runs = 0
    assert replay(history, flaky(body)).result == "3"
    assert body.runs == 0


@pytest.mark.parametrize("length", range(2, 9))
def test_a_history_cut_anywhere_is_replayed_as_far_as_it_goes(length: int) -> None:
    body = Flaky(failures=2)
    whole = history_of(flaky(body))
    body.runs = 0
    cut = msgspec.structs.replace(whole, events=whole.events[:length], status="RUNNING")
    report = replay(cut, flaky(body))
    assert body.runs == 0
    assert report.status in (InvocationStatus.PENDING, InvocationStatus.SUCCEEDED)


def test_an_unfinished_history_is_replayed_up_to_what_it_waits_for() -> None:
    history = unfinished(approval, {"number": 2})
    assert replay(history, approval).status is InvocationStatus.PENDING


def test_code_may_change_beyond_what_is_recorded() -> None:
    history = unfinished(approval, {"number": 2})

    def longer(event: Any, context: DurableContext) -> Any:
        answer = approval.handler(event, context)
        context.step(double(3), name="new")
        return answer

    assert replay(history, longer).status is InvocationStatus.PENDING


def test_another_operation_in_a_place_is_shown_beside_the_recorded_one() -> None:
    def changed(_event: Any, context: DurableContext) -> int:
        total = context.step(double(1), name="one")
        return total + context.step(double(2), name="other")

    with pytest.raises(ReplayMismatch) as mismatch:
        replay(history_of(three_steps), changed)
    assert mismatch.value.recorded == "WAIT (Wait) 'rest'"
    assert mismatch.value.requested.startswith("STEP (Step) 'other', at ")
    assert f"{Path(__file__).name}:" in mismatch.value.requested
    assert "Durable call 2" in str(mismatch.value)


def test_an_operation_that_is_not_asked_for_any_more_is_named() -> None:
    def shorter(_event: Any, context: DurableContext) -> int:
        total = context.step(double(1), name="one")
        context.wait(Duration(5), name="rest")
        return total

    with pytest.raises(ReplayMismatch, match="no longer requests") as mismatch:
        replay(history_of(three_steps), shorter)
    assert (mismatch.value.recorded, mismatch.value.requested) == (
        "STEP (Step) 'two'",
        "the handler returns",
    )


def test_an_ended_history_does_not_go_on() -> None:
    def longer(event: Any, context: DurableContext) -> int:
        three_steps(event, context)
        return context.step(double(3), name="three")

    with pytest.raises(ReplayMismatch, match="more than is recorded") as mismatch:
        replay(history_of(three_steps), longer)
    assert mismatch.value.requested.startswith("STEP (Step) 'three'")


def test_code_that_fails_where_it_did_not_is_named() -> None:
    def failing(event: Any, context: DurableContext) -> int:
        three_steps(event, context)
        raise KeyError("gone")

    with pytest.raises(ReplayMismatch, match="raises KeyError: 'gone'"):
        replay(history_of(three_steps), failing)


def test_a_failure_that_is_recorded_is_no_mismatch() -> None:
    def failing(event: Any, context: DurableContext) -> int:
        three_steps(event, context)
        raise KeyError("gone")

    assert replay(history_of(failing), failing).status is InvocationStatus.FAILED


def test_what_an_ended_context_held_is_its_own_business() -> None:
    def changed(_event: Any, context: DurableContext) -> int:
        def inner(child: DurableContext) -> int:
            return child.step(double(7), name="something else")

        total = context.run_in_child_context(inner, name="one")
        context.wait(Duration(5), name="between")
        return total + context.run_in_child_context(inner, name="two")

    assert replay(history_of(nested), changed).result == "12"


def large_context(_event: Any, context: DurableContext) -> int:
    def inner(child: DurableContext) -> str:
        return str(child.step(double(1), name="inside")) * 300_000

    return len(context.run_in_child_context(inner, name="large", config=ChildConfig()))


def large_map(_event: Any, context: DurableContext) -> int:
    def each(child: DurableContext, item: int, _index: int, _items: Any) -> str:
        return str(child.step(double(item), name="inside")) * 100_000

    result = context.map([1, 2, 3], each, name="many", config=MapConfig())
    return sum(map(len, result.get_results()))


@pytest.mark.parametrize("handler", [large_context, large_map])
def test_a_result_too_large_to_keep_is_made_again(handler: Handler) -> None:
    assert replay(history_of(handler), handler).result == "300000"


def test_a_change_inside_a_context_that_is_run_again_is_found() -> None:
    def changed(_event: Any, context: DurableContext) -> int:
        def inner(child: DurableContext) -> str:
            return str(child.step(double(1), name="renamed")) * 300_000

        return len(context.run_in_child_context(inner, name="large"))

    with pytest.raises(ReplayMismatch) as mismatch:
        replay(history_of(large_context), changed)
    assert mismatch.value.recorded == "STEP (Step) 'inside'"


def branches(_event: Any, context: DurableContext) -> list[Any]:
    def steps(inner: DurableContext) -> int:
        return inner.step(double(1), name="left")

    def waits(inner: DurableContext) -> Any:
        config = CallbackConfig(timeout=Duration(60))
        return inner.create_callback("right", config).result()

    return context.parallel([waits, steps], name="both").get_results()


def test_branches_are_replayed_side_by_side() -> None:
    assert replay(unfinished(branches), branches).status is InvocationStatus.PENDING


def test_a_change_in_a_branch_is_found_though_another_one_waits() -> None:
    def changed(_event: Any, context: DurableContext) -> list[Any]:
        def steps(inner: DurableContext) -> int:
            return inner.step(double(1), name="renamed")

        def waits(inner: DurableContext) -> Any:
            inner.step(double(1), name="beyond")
            return inner.create_callback("right").result()

        return context.parallel([waits, steps], name="both").get_results()

    with pytest.raises(ReplayMismatch):
        replay(unfinished(branches), changed)


def test_a_history_without_its_payloads_is_refused() -> None:
    history = history_of(three_steps)
    events = (msgspec.structs.replace(history.events[0], truncated=True), *history.events[1:])
    with pytest.raises(DurableFunctionsTestError, match="must contain payloads"):
        replay(msgspec.structs.replace(history, events=events), three_steps)


@pytest.mark.parametrize("remaining", [slice(0, 0), slice(1, None), slice(0, None, 3)])
def test_a_history_with_holes_is_refused(remaining: slice) -> None:
    history = history_of(nested)
    with pytest.raises(
        DurableFunctionsTestError, match=r"must be ExecutionStarted|are inconsistent"
    ):
        replay(msgspec.structs.replace(history, events=history.events[remaining]), nested)


def later(name: str = "two") -> DurableFunction:
    """Return an async handler: two steps side by side, a wait, and a typed event."""

    async def handle(order: Order, context: AsyncDurableContext) -> int:
        steps = [context.step(double(order.amount), name=each) for each in ("one", name)]
        amounts = await asyncio.gather(*steps)
        await context.wait(Duration(5), name="rest")
        return sum(amounts)

    return DurableFunction(handle, FunctionSettings("later"))


def test_an_async_handler_agrees_with_what_it_wrote() -> None:
    history = history_of(later(), {"amount": 2})
    report = replay(history, later())
    assert (report.status, report.result) == (InvocationStatus.SUCCEEDED, "8")


def test_what_an_async_handler_asks_for_instead_is_named_with_its_line() -> None:
    history = history_of(later(), {"amount": 2})
    with pytest.raises(ReplayMismatch) as mismatch:
        replay(history, later("other"))
    assert mismatch.value.recorded == "STEP (Step) 'two'"
    assert "STEP (Step) 'other', at " in mismatch.value.requested
    assert f"{Path(__file__)}:" in mismatch.value.requested


def test_what_an_async_handler_asks_for_no_more_is_named() -> None:
    async def shorter(order: Order, context: AsyncDurableContext) -> int:
        steps = [context.step(double(order.amount), name=each) for each in ("one", "two")]
        return sum(await asyncio.gather(*steps))

    history = history_of(later(), {"amount": 2})
    with pytest.raises(ReplayMismatch, match="no longer requests a recorded operation") as mismatch:
        replay(history, DurableFunction(shorter, FunctionSettings("later")))
    assert mismatch.value.recorded == "WAIT (Wait) 'rest'"


def test_an_async_history_that_goes_on_is_replayed_up_to_what_it_waits_for() -> None:
    async def asking(_event: Any, context: AsyncDurableContext) -> Any:
        await context.step(double(1), name="one")
        return await (await context.create_callback("approval")).result()

    function = DurableFunction(asking, FunctionSettings("asking"))
    assert replay(unfinished(function), function).status is InvocationStatus.PENDING
