"""Exit statuses are a contract with scripts."""

import pytest

from perdure.client import errors
from perdure_cli.exit_codes import MEANINGS, ExitCode, exit_code


def test_the_numbers_never_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "EXECUTION_FAILED": 1,
        "INVALID": 2,
        "NOT_FOUND": 3,
        "CONFLICT": 4,
        "UNAUTHENTICATED": 5,
        "UNAVAILABLE": 6,
        "TIMED_OUT": 7,
        "SERVER_ERROR": 8,
        "DIVERGED": 9,
        "INTERRUPTED": 130,
    }


def test_every_number_is_explained() -> None:
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgumentError("x"), 2),
        (errors.NotFoundError("x"), 3),
        (errors.AlreadyExistsError("x"), 4),
        (errors.FailedPreconditionError("x"), 4),
        (errors.UnauthenticatedError("x"), 5),
        (errors.PermissionDeniedError("x"), 5),
        (errors.UnavailableError("x"), 6),
        (errors.ResourceExhaustedError("x"), 6),
        (errors.WaitTimeoutError("x"), 7),
        (errors.ServerError("x"), 8),
        (errors.ExecutionFailedError(execution_arn="a", status="FAILED"), 1),
    ],
)
def test_an_error_has_its_number(error: errors.ClientError, code: int) -> None:
    assert exit_code(error) == code
