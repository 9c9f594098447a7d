"""Errors of the client: every gRPC status becomes one exception."""

import grpc
import pytest

from perdure import client
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
        (grpc.StatusCode.DATA_LOSS, errors.ServerError),
    ],
)
def test_a_status_means_one_error(status: grpc.StatusCode, kind: type[errors.ClientError]) -> None:
    error = errors.client_error(status, "the message")
    assert type(error) is kind
    assert str(error) == "the message"


def test_every_error_has_a_code_and_is_public() -> None:
    kinds: list[type[errors.ClientError]] = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ClientError)
    ]
    assert {each.__name__ for each in kinds} <= set(client.__all__)
    assert len({each.code for each in kinds}) == len(kinds)


def test_the_reason_of_the_server_is_the_code() -> None:
    status = grpc.StatusCode.FAILED_PRECONDITION
    assert errors.client_error(status, "x").code == "failed_precondition"
    assert errors.client_error(status, "x", "callback_timed_out").code == "callback_timed_out"
    assert errors.client_error(status, "x").code == "failed_precondition"


def test_a_message_beyond_the_channels_limit_is_the_callers_fault() -> None:
    error = errors.client_error(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (9 vs. 8)"
    )
    assert type(error) is errors.InvalidArgumentError


def test_a_server_of_another_kind_is_told_in_words() -> None:
    error = errors.client_error(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    assert type(error) is errors.ServerError
    assert "is it the gRPC port of a Perdure server" in str(error)


def test_an_error_without_a_message_names_its_status() -> None:
    assert str(errors.client_error(grpc.StatusCode.INTERNAL, "")) == "INTERNAL"


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_no_status_is_without_an_error(status: grpc.StatusCode) -> None:
    assert isinstance(errors.client_error(status, "x"), errors.ClientError)
