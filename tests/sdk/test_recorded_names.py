"""Histories name errors by where their classes were first; no move of a class may change that."""

import inspect
from typing import Final

import pytest

from perdure import AnyOfError, BatchCompletionError, client, exceptions
from perdure.exceptions import DurableOperationError, qualified_name
from perdure.worker_api import InvocationLost, error_record
from perdure_host.codec import MalformedMessage

RECORDED: Final[dict[type[BaseException], str]] = {
    AnyOfError: "perdure.composition.AnyOfError",
    BatchCompletionError: "perdure.batch_result.BatchCompletionError",
    InvocationLost: "perdure.delivery.TurnPassed",
    MalformedMessage: "perdure_host.codec.MalformedMessage",
    client.AlreadyExistsError: "perdure.client_errors.AlreadyExistsError",
    client.ClientError: "perdure.client_errors.ClientError",
    client.ExecutionFailedError: "perdure.client_errors.ExecutionFailedError",
    client.FailedPreconditionError: "perdure.client_errors.FailedPreconditionError",
    client.InvalidArgumentError: "perdure.client_errors.InvalidArgumentError",
    client.NotFoundError: "perdure.client_errors.NotFoundError",
    client.PermissionDeniedError: "perdure.client_errors.PermissionDeniedError",
    client.ResourceExhaustedError: "perdure.client_errors.ResourceExhaustedError",
    client.ServerError: "perdure.client_errors.ServerError",
    client.UnauthenticatedError: "perdure.client_errors.UnauthenticatedError",
    client.UnavailableError: "perdure.client_errors.UnavailableError",
    client.WaitTimeoutError: "perdure.client_errors.WaitTimeoutError",
    exceptions.CallbackError: "perdure.exceptions.CallbackError",
    exceptions.CallbackExternalError: "perdure.exceptions.CallbackExternalError",
    exceptions.CallbackSubmitterError: "perdure.exceptions.CallbackSubmitterError",
    exceptions.CallbackTimeoutError: "perdure.exceptions.CallbackTimeoutError",
    exceptions.ChildContextError: "perdure.exceptions.ChildContextError",
    exceptions.DurableExecutionsError: "perdure.exceptions.DurableExecutionsError",
    exceptions.DurableOperationError: "perdure.exceptions.DurableOperationError",
    exceptions.ExecutionError: "perdure.exceptions.ExecutionError",
    exceptions.InvalidStateError: "perdure.exceptions.InvalidStateError",
    exceptions.InvocationError: "perdure.exceptions.InvocationError",
    exceptions.InvokeError: "perdure.exceptions.InvokeError",
    exceptions.NonDeterministicExecutionError: "perdure.exceptions.NonDeterministicExecutionError",
    exceptions.OrphanedChildException: "perdure.exceptions.OrphanedChildException",
    exceptions.PluginLoadError: "perdure.exceptions.PluginLoadError",
    exceptions.RetryableSerDesError: "perdure.exceptions.RetryableSerDesError",
    exceptions.SerDesError: "perdure.exceptions.SerDesError",
    exceptions.StepCancelledError: "perdure.exceptions.StepCancelledError",
    exceptions.StepError: "perdure.exceptions.StepError",
    exceptions.StepHeartbeatTimeoutError: "perdure.exceptions.StepHeartbeatTimeoutError",
    exceptions.StepInterruptedError: "perdure.exceptions.StepInterruptedError",
    exceptions.StepTimeoutError: "perdure.exceptions.StepTimeoutError",
    exceptions.SuspendExecution: "perdure.exceptions.SuspendExecution",
    exceptions.TimedSuspendExecution: "perdure.exceptions.TimedSuspendExecution",
    exceptions.UnrecoverableError: "perdure.exceptions.UnrecoverableError",
    exceptions.ValidationError: "perdure.exceptions.ValidationError",
    exceptions.WaitCancelledError: "perdure.exceptions.WaitCancelledError",
    exceptions.WaitForConditionError: "perdure.exceptions.WaitForConditionError",
}
REBUILT: Final = [error for error in RECORDED if issubclass(error, DurableOperationError)]


@pytest.mark.parametrize(("error_class", "name"), RECORDED.items())
def test_an_error_is_recorded_under_its_first_name(
    error_class: type[BaseException], name: str
) -> None:
    assert qualified_name(error_class) == name


@pytest.mark.parametrize("module", [exceptions, client])
def test_every_error_that_users_may_catch_is_in_the_table(module: object) -> None:
    public = [getattr(module, name) for name in module.__all__]  # type: ignore[attr-defined]
    errors = {each for each in public if inspect.isclass(each) and issubclass(each, BaseException)}
    assert errors - set(RECORDED) == set()


@pytest.mark.parametrize("error_class", REBUILT)
def test_an_operation_error_is_made_again_from_its_recorded_name(
    error_class: type[DurableOperationError],
) -> None:
    name = RECORDED[error_class]
    error = DurableOperationError.from_error_fields(name, "message", "data", ["line"])
    assert type(error) is error_class
    assert (error.error_type, error.message, error.data) == (name, "message", "data")
    assert error.stack_trace == ["line"]


def test_an_operation_error_calls_itself_by_its_recorded_name() -> None:
    assert AnyOfError("none").error_type == "perdure.composition.AnyOfError"
    assert error_record(AnyOfError("none")).type == "perdure.composition.AnyOfError"


def test_a_class_that_derives_from_one_that_has_moved_has_a_name_of_its_own() -> None:
    class NobodyAnsweredError(AnyOfError):
        pass

    assert qualified_name(NobodyAnsweredError).startswith(f"{__name__}.")
    assert qualified_name(NobodyAnsweredError).endswith("NobodyAnsweredError")
