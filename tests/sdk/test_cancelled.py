"""A body sees that it is cancelled: its branch, its invocation or its execution is over."""

import logging
import threading
from typing import Any

import pytest

from perdure import DurableContext, StepContext
from perdure.config import CompletionConfig, ParallelConfig
from perdure.exceptions import StepCancelledError
from perdure.testing import DurableFunctionTestRunner
from perdure.worker_api import (
    CheckpointAnswer,
    InvocationEnvironment,
    Lost,
    Succeeded,
    run_invocation,
)
from perdure_core.model import ExecutionStatus
from tests.sdk.hosted import Hosted, handler
from tests.sdk.scripted import Scripted, delivery

FIRST = ParallelConfig(completion_config=CompletionConfig.first_successful())


class Patient:
    """A body that goes on until it is cancelled."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = False

    def __call__(self, step: StepContext) -> None:
        self.started.set()
        while True:
            if step.cancelled:
                break
        with pytest.raises(StepCancelledError, match=r"Attempt 1 of STEP \(Step\)"):
            step.raise_if_cancelled()
        self.cancelled = True


class LosableCheckpoints(Scripted):
    """Checkpoints of an invocation that is lost when a test says so."""

    def lose(self) -> None:
        assert self._listener is not None
        self._listener(CheckpointAnswer((), revoked=False, lost=True))


def test_the_body_of_an_abandoned_branch_is_cancelled() -> None:
    patient = Patient()

    def fast(context: DurableContext) -> str:
        assert patient.started.wait(60)
        return "first"

    def handle(_: Any, context: DurableContext) -> list[str | None]:
        slow = context.parallel([lambda branch: branch.step(patient), fast], config=FIRST)
        return slow.get_results()

    host = Hosted(handler(handle))
    assert host.run() == Succeeded('["first"]')
    assert patient.cancelled
    assert "StepSucceeded" not in host.history


def test_the_body_of_the_loser_of_a_race_is_cancelled() -> None:
    patient = Patient()

    def slow(branch: DurableContext) -> None:
        branch.step(patient)

    def fast(branch: DurableContext) -> None:
        assert patient.started.wait(60)

    host = Hosted(handler(lambda _, context: context.race([slow, fast])))
    assert host.run() == Succeeded("null")
    assert patient.cancelled
    assert "StepSucceeded" not in host.history


def test_a_body_whose_turn_has_passed_is_cancelled_and_records_nothing() -> None:
    patient = Patient()
    checkpoints = LosableCheckpoints()
    function = handler(lambda _, context: context.step(patient))

    def lose() -> None:
        assert patient.started.wait(60)
        checkpoints.lose()

    loser = threading.Thread(target=lose)
    loser.start()
    assert run_invocation(function, InvocationEnvironment(delivery(), checkpoints)) == Lost()
    loser.join()
    assert patient.cancelled
    assert [update.action for updates, _ in checkpoints.calls for update in updates] == ["START"]


def test_a_body_whose_execution_is_stopped_in_a_test_is_cancelled() -> None:
    patient = Patient()
    with DurableFunctionTestRunner(lambda _, context: context.step(patient)) as runner:
        arn = runner.run_async()
        assert patient.started.wait(60)
        runner.stop_execution(arn)
        result = runner.wait_for_result(arn)
    assert result.execution_status is ExecutionStatus.STOPPED
    assert patient.cancelled


def test_a_context_that_a_test_has_made_is_not_cancelled() -> None:
    context = StepContext(logging.getLogger(), 1)
    context.raise_if_cancelled()
    assert not context.cancelled
