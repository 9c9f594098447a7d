"""Steps: run until an outcome is recorded, retried by their strategy."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from perdure import DurableContext, StepContext, durable_step
from perdure.config import Duration, StepConfig, StepSemantics
from perdure.exceptions import (
    ExecutionError,
    RetryableSerDesError,
    SerDesError,
    StepError,
    StepInterruptedError,
    ValidationError,
)
from perdure.retries import RetryDecision, RetryPresets
from perdure.serdes import JsonSerDes, PassThroughSerDes, SerDes, SerDesContext
from perdure.worker_api import Errored, Failed, Pending, Succeeded
from perdure_core.model import OperationStatus, StepDetails
from tests.sdk.hosted import Crash, Hosted, handler

AT_MOST_ONCE = StepSemantics.AT_MOST_ONCE_PER_RETRY
NO_RETRY = StepConfig(retry_strategy=RetryPresets.none())


class Body:
    """A step's body that fails a number of times, and records its attempts."""

    def __init__(self, failures: int = 0, value: Any = "done") -> None:
        self.attempts: list[int] = []
        self._failures = failures
        self._value = value

    def __call__(self, step_context: StepContext) -> Any:
        self.attempts.append(step_context.attempt)
        if len(self.attempts) <= self._failures:
            raise OSError(f"failure {len(self.attempts)}")
        return self._value


def hosted(
    body: Callable[[StepContext], Any], config: StepConfig | None = None, *crashes: Crash
) -> Hosted:
    return Hosted(handler(lambda _, context: context.step(body, "work", config)), crashes=crashes)


def test_an_at_least_once_step_costs_one_checkpoint_with_start_and_end() -> None:
    host = hosted(Body())
    assert host.run() == Succeeded('"done"')
    assert [len(call) for call in host.calls] == [2]
    assert host.updates == ["START STEP", "SUCCEED STEP"]


def test_the_end_of_an_attempt_says_how_long_its_body_ran() -> None:
    host = hosted(Body(failures=1))
    host.run()
    took = [update.duration_ms for call in host.calls for update in call]
    assert took[0] is None
    assert took[1] is not None
    assert took[1] >= 0


def test_an_at_most_once_step_is_durably_started_before_its_body_runs() -> None:
    seen: list[list[str]] = []

    def look(_: StepContext) -> None:
        seen.append(host.updates)

    host = hosted(look, StepConfig(step_semantics=AT_MOST_ONCE))
    assert host.run() == Succeeded("null")
    assert seen == [["START STEP"]]
    assert [len(call) for call in host.calls] == [1, 1]


def test_a_completed_step_does_not_run_again() -> None:
    first = Body()

    def wait_after(_: Any, context: DurableContext) -> Any:
        value = context.step(first, "work")
        context.wait(Duration(5))
        return value

    host = Hosted(handler(wait_after))
    assert host.finish() == Succeeded('"done"')
    assert first.attempts == [1]
    assert host.counts.replayed == 2
    assert host.counts.steps == ["succeeded"]


def test_a_failing_step_is_tried_again_after_its_delay_and_counts_its_attempts() -> None:
    body = Body(failures=2)
    host = hosted(body, StepConfig(retry_strategy=RetryPresets.fixed(Duration(7))))
    began_ms = host.now_ms
    assert host.run() == Pending()
    assert host.finish() == Succeeded('"done"')
    assert body.attempts == [1, 2, 3]
    assert host.now_ms - began_ms == 14_000
    assert host.counts.steps == ["retried", "retried", "succeeded"]


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_retry_is_never_sooner_than_a_second(seconds: int) -> None:
    def strategy(error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(Duration(seconds))

    host = hosted(Body(failures=1), StepConfig(retry_strategy=strategy))
    began_ms = host.now_ms
    host.finish()
    assert host.now_ms - began_ms == 1_000


def test_a_retry_comes_after_milliseconds_if_a_strategy_says_so() -> None:
    def strategy(error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(Duration.from_milliseconds(200))

    host = hosted(Body(failures=2), StepConfig(strategy))
    began_ms = host.now_ms
    host.finish()
    assert host.now_ms - began_ms == 400


@pytest.mark.parametrize("preset", [RetryPresets.default, RetryPresets.linear, RetryPresets.fixed])
def test_the_published_strategies_wait_a_second_at_least(preset: Any) -> None:
    decisions = [preset()(OSError("busy"), 1) for _ in range(200)]
    assert min(decision.delay.to_milliseconds() for decision in decisions) >= 1_000


def test_a_step_that_fails_for_good_raises_what_is_recorded() -> None:
    caught: list[StepError] = []

    def catching(_: Any, context: DurableContext) -> str:
        try:
            context.step(Body(failures=1), "work", NO_RETRY)
        except StepError as error:
            caught.append(error)
        context.wait(Duration(5))
        return "went on"

    host = Hosted(handler(catching))
    assert host.finish() == Succeeded('"went on"')
    first, replayed = caught
    assert str(first) == "failure 1"
    assert first.error_type == "OSError"
    assert vars(first) == vars(replayed)
    assert type(first.__cause__) is type(replayed.__cause__)
    assert vars(first.__cause__) == vars(replayed.__cause__)
    assert host.counts.steps == ["failed"]


def test_a_crash_runs_an_at_least_once_step_again_under_the_same_attempt() -> None:
    attempts: list[int] = []

    def flaky(_: Any, context: DurableContext) -> Any:
        context.step(Body(), "before")
        return context.step(lambda step: attempts.append(step.attempt), "work")

    host = Hosted(handler(flaky), crashes=[Crash(2, accepted=False)])
    assert host.run() == Succeeded("null")
    assert attempts == [1, 1]
    assert "StepFailed" not in host.history


def test_a_start_that_is_recorded_already_is_not_recorded_again() -> None:
    def fragile(_: Any, context: DurableContext) -> int:
        context.create_callback("first")
        return context.step(exits_once, "work")

    def exits_once(step_context: StepContext) -> int:
        if not host.outcomes:
            raise RetryableSerDesError("the files are away")
        return step_context.attempt

    host = Hosted(handler(fragile))
    assert host.run() == Succeeded("1")
    assert isinstance(host.outcomes[0], Errored)
    assert host.history.count("StepStarted") == 1


def test_a_crash_in_an_at_most_once_step_is_put_to_the_retry_strategy() -> None:
    asked: list[tuple[Exception, int]] = []

    def strategy(error: Exception, attempt: int) -> RetryDecision:
        asked.append((error, attempt))
        return RetryDecision.retry(Duration(3))

    body = Body()
    config = StepConfig(retry_strategy=strategy, step_semantics=AT_MOST_ONCE)
    host = hosted(body, config, Crash(1, accepted=True))
    assert host.run() == Pending()
    assert body.attempts == []
    (error, attempt), *others = asked
    assert isinstance(error, StepInterruptedError)
    assert (attempt, others) == (1, [])
    assert host.finish() == Succeeded('"done"')
    assert body.attempts == [2]


def test_a_crash_in_an_at_most_once_step_without_retries_fails_it() -> None:
    body = Body()
    config = StepConfig(retry_strategy=RetryPresets.none(), step_semantics=AT_MOST_ONCE)
    host = hosted(body, config, Crash(1, accepted=True))
    outcome = host.finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.StepError"
    assert outcome.error.message == "STEP (Step) 'work' was interrupted in attempt 1."
    assert body.attempts == []


def test_a_step_that_sleeps_until_its_retry_is_not_run_when_woken_early() -> None:
    body = Body(failures=1)

    def woken_early(_: Any, context: DurableContext) -> Any:
        callback = context.create_callback("news")
        value = context.step(body, "work", StepConfig(retry_strategy=RetryPresets.fixed()))
        return value + str(callback.result())

    host = Hosted(handler(woken_early))
    host.run()
    host.succeed_callback("!")
    assert host.run() == Pending()
    assert body.attempts == [1]
    assert host.finish() == Succeeded('"done!"')


def test_the_value_is_the_same_on_the_first_run_and_on_replay() -> None:
    seen: list[Any] = []

    def keep(_: Any, context: DurableContext) -> None:
        seen.append(context.step(lambda _: {1: (b"x", 2)}, "work"))
        seen.append(context.step(lambda _: (1, 2), "json", StepConfig(serdes=JsonSerDes())))
        context.wait(Duration(1))

    Hosted(handler(keep)).finish()
    assert seen == [{"1": (b"x", 2)}, [1, 2]] * 2


def test_a_custom_serdes_learns_whose_value_it_is() -> None:
    contexts: set[SerDesContext] = set()

    class Noting(SerDes[Any]):
        def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
            contexts.add(serdes_context)
            return "noted"

        def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
            contexts.add(serdes_context)
            return data

    host = hosted(Body(), StepConfig(serdes=Noting()))
    assert host.run() == Succeeded('"noted"')
    (operation_id,) = host.state.operations
    assert contexts == {SerDesContext(operation_id, host.arn)}


def test_a_value_that_cannot_be_written_fails_the_step_without_a_retry() -> None:
    body = Body(value=object())
    outcome = hosted(body).run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.SerDesError"
    assert "object cannot be recorded" in (outcome.error.message or "")
    assert body.attempts == [1]


def test_the_type_of_a_serdes_error_is_recorded() -> None:
    caught: list[SerDesError] = []

    def catching(_: Any, context: DurableContext) -> None:
        try:
            context.step(Body(value=object()), "work")
        except SerDesError as error:
            caught.append(error)

    Hosted(handler(catching)).run()
    assert [error.error_type for error in caught] == ["perdure.exceptions.SerDesError"]


class Away(SerDes[Any]):
    """A serdes whose storage cannot be reached."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        raise RetryableSerDesError("the file system is away")

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        raise RetryableSerDesError("the file system is away")


def test_a_value_that_cannot_be_written_for_now_runs_the_invocation_again() -> None:
    outcome = hosted(Body(), StepConfig(serdes=Away())).deliver()
    assert isinstance(outcome, Errored)
    assert outcome.error.type == "perdure.exceptions.RetryableSerDesError"


@pytest.mark.parametrize(("size", "fits"), [(67_108_864, True), (67_108_865, False)])
def test_a_result_above_64_mebibytes_fails_the_execution_clearly(size: int, fits: bool) -> None:
    config = StepConfig(serdes=PassThroughSerDes())

    def swallowing(_: Any, context: DurableContext) -> str:
        try:
            context.step(Body(value="x" * size), "work", config)
        except Exception as error:  # noqa: BLE001
            return type(error).__name__
        return "kept"

    outcome = Hosted(handler(swallowing)).run()
    if fits:
        assert outcome == Succeeded('"kept"')
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.message == (
            "The result of STEP (Step) 'work' is 67,108,865 bytes;"
            " at most 67,108,864 can be recorded."
        )


def test_a_body_may_fail_the_execution_without_a_retry() -> None:
    def fatal(_: StepContext) -> None:
        raise ExecutionError("this order must never be tried again")

    outcome = hosted(fatal).run()
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "this order must never be tried again"


def test_a_retry_strategy_that_raises_fails_the_execution_clearly() -> None:
    def broken(error: Exception, attempt: int) -> RetryDecision:
        raise KeyError("delay")

    outcome = hosted(Body(failures=1), StepConfig(retry_strategy=broken)).run()
    assert isinstance(outcome, Failed)
    assert (
        outcome.error.message
        == "The retry strategy of STEP (Step) 'work' raised KeyError('delay')."
    )


def test_a_stop_iteration_in_a_body_is_a_failure_like_others() -> None:
    outcome = hosted(lambda _: next(iter(())), NO_RETRY).run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.StepError"


def test_a_durable_operation_inside_a_step_is_refused() -> None:
    def nesting(_: Any, context: DurableContext) -> None:
        context.step(lambda _: context.wait(Duration(1), "inner"), "outer")

    outcome = Hosted(handler(nesting)).run()
    assert isinstance(outcome, Failed)
    assert "Wait inner was called inside a step" in (outcome.error.message or "")


def test_the_result_of_a_callback_inside_a_step_is_refused() -> None:
    def nesting(_: Any, context: DurableContext) -> None:
        callback = context.create_callback("ask")
        context.step(lambda _: callback.result(), "outer")

    outcome = Hosted(handler(nesting)).run()
    assert isinstance(outcome, Failed)
    assert "the result of a callback was called" in (outcome.error.message or "")


@durable_step
def charge(step_context: StepContext, amount: int, *, currency: str = "EUR") -> str:
    """Charge a card."""
    return f"{amount} {currency}, attempt {step_context.attempt}"


def plain(step_context: StepContext) -> str:
    return "plain"


def test_a_durable_step_is_bound_to_its_arguments_and_named_after_its_function() -> None:
    host = Hosted(handler(lambda _, context: context.step(charge(5, currency="CHF"))))
    assert host.run() == Succeeded('"5 CHF, attempt 1"')
    assert [operation.name for operation in host.state.operations.values()] == ["charge"]
    assert charge.__doc__ == "Charge a card."


@pytest.mark.parametrize(
    ("body", "name", "recorded"),
    [
        (charge(1), "explicit", "explicit"),
        (charge(1), None, "charge"),
        (Body(), None, None),
        (plain, None, None),
    ],
)
def test_a_name_is_given_or_inferred_from_a_durable_step_only(
    body: Any, name: str | None, recorded: str | None
) -> None:
    host = Hosted(handler(lambda _, context: len(str(context.step(body, name)))))
    host.run()
    assert [operation.name for operation in host.state.operations.values()] == [recorded]


def test_the_sub_type_may_be_chosen() -> None:
    host = hosted(Body(), StepConfig(sub_type="Payment"))
    host.run()
    assert [operation.sub_type for operation in host.state.operations.values()] == ["Payment"]


def test_a_coroutine_function_is_refused_as_a_step() -> None:
    async def later(step_context: StepContext) -> None:
        pass

    def body(_: Any, context: DurableContext) -> None:
        for func in (later, durable_step(later)()):
            with pytest.raises(ValidationError, match="'later' is a coroutine function"):
                cast("Any", context).step(func)

    assert Hosted(handler(body)).run() == Succeeded("null")


def test_a_failed_attempt_is_shown_with_the_lines_of_the_body_alone() -> None:
    host = hosted(Body(failures=1))
    host.run()
    (operation,) = host.state.operations.values()
    assert operation.status is OperationStatus.PENDING
    assert isinstance(operation.details, StepDetails)
    error = operation.details.error
    assert error is not None
    assert (error.type, error.message, error.data) == ("OSError", "failure 1", None)
    assert all("sdk/perdure/" not in line for line in error.stack_trace)
    assert "raise OSError" in error.stack_trace[-1]
