"""Crashes in the testing kit: at any checkpoint, and replays after every one."""

from typing import Any

import pytest

from perdure import DurableContext, StepContext
from perdure.config import Duration, MapConfig, StepConfig, StepSemantics
from perdure.retries import RetryPresets
from perdure.testing import (
    Crash,
    CrashDivergence,
    DurableFunctionsTestError,
    DurableFunctionTestRunner,
    for_each_crash,
)
from tests.testing.programs import Flaky, approval, double, flaky, nested


def approve(runner: DurableFunctionTestRunner, arn: str) -> None:
    runner.send_callback_success(runner.wait_for_callback(arn, "approval"), "granted")


def mapped(_event: Any, context: DurableContext) -> list[Any]:
    def each(inner: DurableContext, item: int, index: int, _items: Any) -> int:
        inner.wait(Duration(1 + index), name="pause")
        return inner.step(double(item), name="double")

    return context.map([1, 2, 3], each, name="all", config=MapConfig()).get_results()


def test_the_worker_dies_at_the_given_checkpoint() -> None:
    with DurableFunctionTestRunner(nested, crash_at=[2, Crash(4, accepted=False)]) as runner:
        result = runner.run()
    lost = [event for event in result.history.events if event.error is not None]
    assert result.value == 12
    assert [event.event_type for event in lost] == ["InvocationCompleted"] * 2


def test_a_crash_before_a_checkpoint_records_nothing_of_it() -> None:
    body = Flaky(failures=0)
    for accepted, runs in ((False, 2), (True, 1)):
        body.runs = 0
        crash = Crash(1, accepted=accepted)
        with DurableFunctionTestRunner(flaky(body), crash_at=crash) as runner:
            runner.run()
        assert body.runs == runs


@pytest.mark.parametrize("crash_at", [0, [1, 1], [Crash(1), Crash(1, accepted=False)]])
def test_crashes_lie_at_different_checkpoints(crash_at: Any) -> None:
    with (
        DurableFunctionTestRunner(nested, crash_at=crash_at) as runner,
        pytest.raises(DurableFunctionsTestError, match="counted from 1"),
    ):
        runner.run()


def test_every_crash_leaves_result_and_history_as_they_were() -> None:
    results = for_each_crash(nested)
    assert len(results) > 10
    assert {result.value for result in results} == {12}


def test_branches_survive_every_crash() -> None:
    results = for_each_crash(mapped)
    assert {tuple(result.value) for result in results} == {(2, 4, 6)}


def test_the_world_is_driven_in_every_run() -> None:
    prepared: list[DurableFunctionTestRunner] = []
    results = for_each_crash(approval, {"number": 2}, prepare=prepared.append, drive=approve)
    assert {result.value["answer"] for result in results} == {"granted"}
    assert len(prepared) == len(results)


def test_an_interrupted_attempt_that_is_retried_changes_nothing() -> None:
    config = StepConfig(
        retry_strategy=RetryPresets.default(),
        step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
    )

    def handler(_event: Any, context: DurableContext) -> int:
        return context.step(double(4), name="once", config=config)

    assert len(for_each_crash(handler)) == 5


def test_a_result_that_depends_on_the_process_is_found_out() -> None:
    calls: list[int] = []

    def handler(_event: Any, context: DurableContext) -> int:
        calls.append(1)
        context.step(double(1), name="first")
        return len(calls)

    with pytest.raises(CrashDivergence, match="right before checkpoint 1") as divergence:
        for_each_crash(handler, prepare=lambda _runner: calls.clear())
    assert divergence.value.crash == Crash(1, accepted=False)
    assert "without it:  SUCCEEDED 1" in str(divergence.value)
    assert "with it:     SUCCEEDED 2" in str(divergence.value)


@pytest.mark.parametrize("handler", [nested, mapped], ids=["nested", "mapped"])
def test_always_replay_changes_nothing_but_the_number_of_invocations(handler: Any) -> None:
    def run(*, always_replay: bool) -> Any:
        entered: list[int] = []

        def counted(event: Any, context: DurableContext) -> Any:
            entered.append(1)
            return getattr(handler, "handler", handler)(event, context)

        with DurableFunctionTestRunner(counted, always_replay=always_replay) as runner:
            return runner.run().value, len(entered)

    value, invocations = run(always_replay=False)
    replayed_value, replayed_invocations = run(always_replay=True)
    assert replayed_value == value
    assert replayed_invocations > invocations


def test_always_replay_runs_no_step_twice() -> None:
    runs: list[int] = []

    def body(context: StepContext) -> int:
        del context
        runs.append(1)
        return len(runs)

    def handler(_event: Any, context: DurableContext) -> list[Any]:
        def branch(inner: DurableContext) -> int:
            return inner.step(body, name="body")

        return context.parallel([branch] * 5).get_results()

    with DurableFunctionTestRunner(handler, always_replay=True) as runner:
        assert sorted(runner.run().value) == [1, 2, 3, 4, 5]


def test_always_replay_finds_code_that_asks_differently_each_time() -> None:
    names = iter(["a", "b", "c"])

    def handler(_event: Any, context: DurableContext) -> int:
        first = context.step(double(1), name=next(names))
        context.wait(Duration(1))
        return first

    with (
        DurableFunctionTestRunner(handler, always_replay=True) as runner,
        pytest.raises(DurableFunctionsTestError, match=r"recorded:  STEP \(Step\) 'a'") as failure,
    ):
        runner.run()
    assert "requested: STEP (Step) 'b'" in str(failure.value)
