"""Every row of the table of step semantics, for both of them."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DurableContext, StepContext, StepError
from perdure.config import Duration, StepConfig, StepSemantics
from perdure.retries import RetryPresets
from perdure.worker_api import Pending, Succeeded
from perdure_core.model import OperationAction, OperationUpdate
from tests.sdk.hosted import Hosted, handler

both = pytest.mark.parametrize("semantics", list(StepSemantics))


def failing(times: int) -> tuple[Callable[[StepContext], str], list[int]]:
    attempts: list[int] = []

    def body(step_context: StepContext) -> str:
        attempts.append(step_context.attempt)
        if step_context.attempt <= times:
            raise OSError(f"failure {step_context.attempt}")
        return "done"

    return body, attempts


def hosted(body: Callable[[StepContext], Any], semantics: StepSemantics) -> Hosted:
    config = StepConfig(RetryPresets.fixed(Duration(7)), semantics)
    return Hosted(handler(lambda _, context: context.step(body, "work", config)))


def updates(host: Hosted, action: OperationAction) -> list[OperationUpdate]:
    return [update for call in host.calls for update in call if update.action is action]


@both
def test_a_success_is_durable_before_its_value_is_returned(semantics: StepSemantics) -> None:
    seen: list[list[str]] = []
    config = StepConfig(step_semantics=semantics)

    def body(_: Any, context: DurableContext) -> None:
        context.step(lambda _: "done", "work", config)
        seen.append(host.updates)

    host = Hosted(handler(body))
    assert host.run() == Succeeded("null")
    assert seen == [["START STEP", "SUCCEED STEP"]]


@both
def test_a_failure_is_recorded_with_the_delay_and_suspends(semantics: StepSemantics) -> None:
    body, _ = failing(1)
    host = hosted(body, semantics)
    assert host.run() == Pending()
    (retry,) = updates(host, OperationAction.RETRY)
    assert retry.error is not None
    assert (retry.error.message, retry.next_attempt_delay_ms) == ("failure 1", 7_000)


@both
def test_an_attempt_that_is_due_starts_under_the_next_number(semantics: StepSemantics) -> None:
    body, attempts = failing(1)
    host = hosted(body, semantics)
    assert host.finish() == Succeeded('"done"')
    assert attempts == [1, 2]
    assert host.updates == ["START STEP", "RETRY STEP", "START STEP", "SUCCEED STEP"]


@both
def test_an_attempt_that_is_not_due_suspends_again(semantics: StepSemantics) -> None:
    body, attempts = failing(1)
    config = StepConfig(RetryPresets.fixed(Duration(500)), semantics)

    def two(_: Any, context: DurableContext) -> None:
        context.parallel(
            [
                lambda branch: branch.step(body, "work", config),
                lambda branch: branch.create_callback().result(),
            ]
        )

    host = Hosted(handler(two))
    host.run()
    host.succeed_callback("woken")
    assert host.run() == Pending()
    assert (len(host.outcomes), attempts) == (2, [1])
    assert host.finish() == Succeeded("null")
    assert attempts == [1, 2]


@both
def test_the_last_failure_is_durable_before_it_is_raised(semantics: StepSemantics) -> None:
    seen: list[list[str]] = []
    config = StepConfig(RetryPresets.none(), semantics)
    body, _ = failing(1)

    def catching(_: Any, context: DurableContext) -> None:
        with pytest.raises(StepError, match="failure 1"):
            context.step(body, "work", config)
        seen.append(host.updates)

    host = Hosted(handler(catching))
    assert host.run() == Succeeded("null")
    assert seen == [["START STEP", "FAIL STEP"]]


def test_a_step_without_a_strategy_has_six_attempts() -> None:
    body, attempts = failing(6)

    def catching(_: Any, context: DurableContext) -> None:
        with pytest.raises(StepError, match="failure 6"):
            context.step(body)

    assert Hosted(handler(catching)).finish() == Succeeded("null")
    assert attempts == [1, 2, 3, 4, 5, 6]
