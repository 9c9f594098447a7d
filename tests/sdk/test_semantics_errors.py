"""The tree of exceptions, and how a handler's end ends its execution."""

from datetime import UTC, datetime
from typing import Any

import pytest

import perdure
from perdure import DurableContext, exceptions
from perdure.config import Duration
from perdure.worker_api import (
    CheckpointRefused,
    Errored,
    Failed,
    InvocationEnvironment,
    Outcome,
    Pending,
    Succeeded,
    run_invocation,
)
from tests.sdk.hosted import Hosted, handler
from tests.sdk.scripted import Scripted, delivery

PARENTS = {
    "DurableExecutionsError": Exception,
    "ValidationError": exceptions.DurableExecutionsError,
    "InvalidStateError": exceptions.DurableExecutionsError,
    "SerDesError": exceptions.DurableExecutionsError,
    "UnrecoverableError": exceptions.DurableExecutionsError,
    "ExecutionError": exceptions.UnrecoverableError,
    "NonDeterministicExecutionError": exceptions.ExecutionError,
    "InvocationError": exceptions.UnrecoverableError,
    "StepInterruptedError": exceptions.InvocationError,
    "RetryableSerDesError": exceptions.InvocationError,
    "DurableOperationError": exceptions.DurableExecutionsError,
    "StepError": exceptions.DurableOperationError,
    "InvokeError": exceptions.DurableOperationError,
    "ChildContextError": exceptions.DurableOperationError,
    "WaitForConditionError": exceptions.DurableOperationError,
    "WaitCancelledError": exceptions.DurableOperationError,
    "CallbackError": exceptions.DurableOperationError,
    "CallbackExternalError": exceptions.CallbackError,
    "CallbackTimeoutError": exceptions.CallbackError,
    "CallbackSubmitterError": exceptions.CallbackError,
    "StepTimeoutError": exceptions.DurableExecutionsError,
    "StepHeartbeatTimeoutError": exceptions.StepTimeoutError,
    "StepCancelledError": BaseException,
    "SuspendExecution": BaseException,
    "TimedSuspendExecution": exceptions.SuspendExecution,
    "OrphanedChildException": BaseException,
    "PluginLoadError": exceptions.DurableExecutionsError,
}


class FinalInvocationError(exceptions.InvocationError):
    """An error class of a user that is never retried."""

    def is_retryable(self) -> bool:
        return False


@pytest.mark.parametrize(("name", "parent"), list(PARENTS.items()))
def test_an_error_has_its_place_in_the_tree(name: str, parent: type[BaseException]) -> None:
    error_class = getattr(exceptions, name)
    assert issubclass(error_class, parent)
    assert issubclass(error_class, Exception) is issubclass(parent, Exception)


def test_every_public_error_has_a_place_in_the_tree() -> None:
    public = {
        name
        for name in exceptions.__all__
        if isinstance(getattr(exceptions, name), type)
        and issubclass(getattr(exceptions, name), BaseException)
    }
    assert public == set(PARENTS)


def test_the_error_of_a_failed_batch_is_one_of_operations() -> None:
    assert issubclass(perdure.BatchCompletionError, exceptions.DurableOperationError)


def first_outcome(error: BaseException) -> tuple[Hosted, Outcome]:
    """Raise in the first invocation only."""
    errors = [error]

    def body(_: Any, __: Any) -> str:
        if errors:
            raise errors.pop()
        return "again"

    host = Hosted(handler(body))
    host.run()
    return host, host.outcomes[0]


def test_an_invocation_error_of_a_handler_runs_it_again() -> None:
    host, outcome = first_outcome(exceptions.InvocationError("the network is away"))
    assert isinstance(outcome, Errored)
    assert host.finish() == Succeeded('"again"')


@pytest.mark.parametrize(
    "error",
    [
        FinalInvocationError("never"),
        exceptions.ExecutionError("enough"),
        exceptions.ValidationError("odd"),
        ValueError("ordinary"),
    ],
)
def test_other_errors_of_a_handler_fail_its_execution(error: Exception) -> None:
    host, outcome = first_outcome(error)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == str(error)
    assert len(host.outcomes) == 1


def test_a_suspension_that_a_handler_raises_itself_is_pending() -> None:
    _, outcome = first_outcome(exceptions.SuspendExecution("later"))
    assert outcome == Pending()


def test_a_suspension_may_last_so_many_seconds_from_now() -> None:
    began = datetime.now(UTC).timestamp()
    suspension = exceptions.TimedSuspendExecution.from_delay("later", 60)
    ended = datetime.now(UTC).timestamp()
    assert began + 60 <= suspension.scheduled_timestamp <= ended + 60


def test_a_refused_checkpoint_is_an_error_in_the_handler() -> None:
    caught: list[exceptions.ExecutionError] = []

    def body(_: Any, context: DurableContext) -> None:
        try:
            context.wait(Duration(1))
        except exceptions.ExecutionError as error:
            caught.append(error)
            raise

    outcome = run_invocation(
        handler(body), InvocationEnvironment(delivery(), Scripted(CheckpointRefused("too many")))
    )
    assert isinstance(outcome, Failed)
    assert [error.termination_reason.name for error in caught] == ["CHECKPOINT_FAILED"]
