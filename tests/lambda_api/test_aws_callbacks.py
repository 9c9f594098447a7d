"""Histories of callbacks of the published AWS SDK, versions 1 and 3, read whole by boto3."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.hosting.paced import PacedMachine
from tests.lambda_api.aws_history import (
    INVOKED,
    LATER_S,
    SOME,
    Operation,
    Row,
    failure,
    held,
    history,
    success,
)

pytestmark = pytest.mark.timeout(240)

TIMEOUT_S: Final = 60
HEARTBEAT_S: Final = 30
APPROVAL: Final = Operation("1", "approval", "Callback")
CONTEXT: Final = Operation("1", "approval", "WaitForCallback")
INNER: Final = Operation("1-1", "approval create callback id", "Callback", "1")
SUBMITTER: Final = Operation("1-2", "approval submitter", "Step", "1")
REFUSED: Final = {"ErrorType": "No", "ErrorMessage": "no", "ErrorData": "data"}
SDK_ERRORS: Final = "aws_durable_execution_sdk_python.exceptions"


def succeeds(aws: PacedMachine) -> Callable[[str], None]:
    def act(arn: str) -> None:
        identifier = aws.event(arn, "CallbackStarted")["CallbackId"]
        aws.client.send_durable_execution_callback_success(CallbackId=identifier, Result=b'"yes"')

    return act


def fails(aws: PacedMachine) -> Callable[[str], None]:
    def act(arn: str) -> None:
        identifier = aws.event(arn, "CallbackStarted")["CallbackId"]
        aws.client.send_durable_execution_callback_failure(CallbackId=identifier, Error=REFUSED)

    return act


def shows_life(aws: PacedMachine) -> Callable[[str], None]:
    """Pass the whole heartbeat timeout, with a heartbeat in its middle."""

    def act(arn: str) -> None:
        identifier = aws.event(arn, "CallbackStarted")["CallbackId"]
        aws.move(HEARTBEAT_S - 1)
        aws.client.send_durable_execution_callback_heartbeat(CallbackId=identifier)
        aws.move(HEARTBEAT_S - 1)
        succeeds(aws)(arn)

    return act


def passes(seconds: int) -> Callable[[PacedMachine], int]:
    return lambda _: seconds


def limits(timeout: int, heartbeat: int) -> dict[str, Any]:
    """Return the details of a callback's start; limits that are not set are left out."""
    set_limits = {"Timeout": timeout, "HeartbeatTimeout": heartbeat}
    return {
        "CallbackId": SOME,
        **{name: seconds for name, seconds in set_limits.items() if seconds},
    }


TIMED_OUT: Final = failure("Callback timed out", "Callback.Timeout")
SILENT: Final = failure("Callback timed out on heartbeat", "Callback.Heartbeat")
TURNED_DOWN: Final = failure("no", "No", ErrorData="data")
# How a callback ends: what is done, its event, the error, and what version 3 raises then.
ENDS: Final = [
    pytest.param(fails, "CallbackFailed", TURNED_DOWN, "CallbackExternalError", id="fails"),
    pytest.param(
        passes(TIMEOUT_S), "CallbackTimedOut", TIMED_OUT, "CallbackTimeoutError", id="timeout"
    ),
    pytest.param(
        passes(HEARTBEAT_S), "CallbackTimedOut", SILENT, "CallbackTimeoutError", id="heartbeat"
    ),
]


def limits_of(error: dict[str, Any]) -> dict[str, int]:
    """Return limits within which the callback ends with the error."""
    return {"timeout": TIMEOUT_S, "heartbeat": 0 if error is TIMED_OUT else HEARTBEAT_S}


@pytest.mark.parametrize("ends", [succeeds, shows_life])
def test_a_callback_is_shown_with_its_limits_and_its_result(
    aws: PacedMachine, ends: Callable[[PacedMachine], Callable[[str], None]]
) -> None:
    played = aws.play("asks", ends(aws), timeout=2 * TIMEOUT_S, heartbeat=HEARTBEAT_S)
    assert played.result == '"yes"'
    assert history(aws, played.arn) == success(
        played,
        APPROVAL.row("CallbackStarted", **limits(2 * TIMEOUT_S, HEARTBEAT_S)),
        INVOKED,
        APPROVAL.row("CallbackSucceeded", Result=held('"yes"')),
    )


@pytest.mark.parametrize(("ends", "kind", "error", "raised"), ENDS)
def test_a_callback_is_shown_with_its_limits_and_its_error(
    aws: PacedMachine, sdk_is_1: bool, ends: Any, kind: str, error: dict[str, Any], raised: str
) -> None:
    bounds = limits_of(error)
    played = aws.play("asks", ends(aws), **bounds)
    assert played.result == {
        "raised": error["Payload"]["ErrorMessage"],
        "type": "CallbackError" if sdk_is_1 else raised,
    }
    assert history(aws, played.arn) == success(
        played,
        APPROVAL.row("CallbackStarted", **limits(**bounds)),
        INVOKED,
        APPROVAL.row(kind, Error=error),
    )


def test_wait_for_callback_is_a_context_with_a_callback_and_a_submitter(aws: PacedMachine) -> None:
    event = {"timeout": 0, "heartbeat": 0, "submitter_fails": False}
    played = aws.play("waits_for_callback", succeeds(aws), **event)
    assert played.result == '"yes"'
    start, ended = CONTEXT.context(json.dumps('"yes"'))
    assert history(aws, played.arn) == success(
        played,
        *(start, INNER.row("CallbackStarted", **limits(0, 0)), *SUBMITTER.step(None)),
        *(INVOKED, INNER.row("CallbackSucceeded", Result=held('"yes"')), ended),
    )


@pytest.mark.parametrize(("ends", "kind", "error", "raised"), ENDS)
def test_wait_for_callback_fails_with_its_callback(
    aws: PacedMachine, sdk_is_1: bool, ends: Any, kind: str, error: dict[str, Any], raised: str
) -> None:
    bounds = limits_of(error)
    played = aws.play("waits_for_callback", ends(aws), submitter_fails=False, **bounds)
    message = error["Payload"]["ErrorMessage"]
    # Version 1 has one error for all callbacks, which drops the data and escapes as another.
    expected = {"raised": message, "type": "CallableRuntimeError" if sdk_is_1 else raised}
    assert played.result == expected
    data = {key: text for key, text in error["Payload"].items() if key == "ErrorData"}
    inside = (
        failure(message, "CallbackError")
        if sdk_is_1
        else failure(message, f"{SDK_ERRORS}.{raised}", **data)
    )
    start, broken = CONTEXT.broken(inside)
    assert history(aws, played.arn) == success(
        played,
        *(start, INNER.row("CallbackStarted", **limits(**bounds)), *SUBMITTER.step(None)),
        *(INVOKED, INNER.row(kind, Error=error), broken),
    )


def test_wait_for_callback_fails_with_its_submitter_once_retries_are_used_up(
    aws: PacedMachine, sdk_is_1: bool
) -> None:
    event = {"timeout": 0, "heartbeat": 0, "submitter_fails": True}
    played = aws.play("waits_for_callback", LATER_S, **event)
    kind, inside = (
        ("CallableRuntimeError", "CallableRuntimeError")
        if sdk_is_1
        else ("CallbackSubmitterError", f"{SDK_ERRORS}.StepError")
    )
    assert played.result == {"raised": "nobody is there", "type": kind}
    start, broken = CONTEXT.broken(failure("nobody is there", inside))
    # Its callback stays open, and ends with the execution.
    assert history(aws, played.arn) == success(
        played,
        *(start, INNER.row("CallbackStarted", **limits(0, 0))),
        *(*SUBMITTER.failing(failure("nobody is there"), 1, LATER_S), INVOKED),
        *(*SUBMITTER.failing(failure("nobody is there"), 2), broken),
    )


def test_a_callback_completed_during_a_wait_invokes_then_and_when_the_wait_ends(
    aws: PacedMachine,
) -> None:
    played = aws.play("waits_beside_a_callback", succeeds(aws), LATER_S)
    start, invoked, over = Operation("2", "rest", "Wait").waiting()
    between: list[Row] = [
        *(APPROVAL.row("CallbackStarted", **limits(0, 0)), start, invoked),
        *(APPROVAL.row("CallbackSucceeded", Result=held('"yes"')), INVOKED, over),
    ]
    assert history(aws, played.arn) == success(played, *between)
