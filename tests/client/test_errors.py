"""Errors of the client: every gRPC status becomes one exception."""

import grpc
import pytest

from perdure.client import errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidArgumentError),
        (grpc.StatusCode.NOT_FOUND, errors.NotFoundError),
        (grpc.StatusCode.ALREADY_EXISTS, errors.AlreadyExistsError),
        (grpc.StatusCode.FAILED_PRECONDITION, errors.FailedPreconditionError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDeniedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhaustedError),
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.UnavailableError),
        (grpc.StatusCode.CANCELLED, errors.UnavailableError),
        (grpc.StatusCode.INTERNAL, errors.ServerError),
        (grpc.StatusCode.UNKNOWN, errors.ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ServerError),
        (grpc.StatusCode.DATA_LOSS, errors.ServerError),
    ],
)
def test_a_status_means_one_error(status: grpc.StatusCode, kind: type[errors.ClientError]) -> None:
    error = errors.client_error(status, "the message")
    assert type(error) is kind
    assert str(error) == "the message"


def test_a_message_beyond_the_channels_limit_is_the_callers_fault() -> None:
    error = errors.client_error(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (9 vs. 8)"
    )
    assert type(error) is errors.InvalidArgumentError


def test_an_error_without_a_message_names_its_status() -> None:
    assert str(errors.client_error(grpc.StatusCode.INTERNAL, "")) == "INTERNAL"


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_no_status_is_without_an_error(status: grpc.StatusCode) -> None:
    assert isinstance(errors.client_error(status, "x"), errors.ClientError)
