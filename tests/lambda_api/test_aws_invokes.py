"""Histories of chained invokes of the published AWS SDK, versions 1 and 3."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.hosting.paced import PROGRAM, PacedMachine, Played
from tests.lambda_api.aws_history import (
    INVOKED,
    LATER_S,
    SOME,
    Operation,
    Row,
    failure,
    held,
    history,
    started,
    succeeded,
    success,
)

pytestmark = pytest.mark.timeout(240)

OTHER: Final = Operation("1", "other", "ChainedInvoke")
# The execution timeout of the function "short".
SHORT_S: Final = 30


def call(target: str, tenant: str | None = None, **payload: Any) -> dict[str, Any]:
    """Return the input of the program `invokes`."""
    return {"target": target, "tenant": tenant, "payload": payload}


def invoke_started(target: str, tenant: str | None = None, **payload: Any) -> Row:
    """Return the start of the invoke; a missing target has no execution in it."""
    named = {} if tenant is None else {"TenantId": tenant}
    run = {"ExecutedVersion": "$LATEST", "DurableExecutionArn": SOME}
    details = {"FunctionName": target, **named, "Input": held(json.dumps(payload))}
    return OTHER.row("ChainedInvokeStarted", **details, **({} if target == "nowhere" else run))


def child_of(aws: PacedMachine, arn: str) -> str:
    """Return the ARN of the child, once it is idle."""
    child: str = aws.event(arn, "ChainedInvokeStarted")["DurableExecutionArn"]
    aws.wait_rest(child)
    return child


def after(seconds: int, aws: PacedMachine) -> Callable[[str], None]:
    """Return the act that advances the clock, once the child is idle too."""

    def act(arn: str) -> None:
        child_of(aws, arn)
        aws.move(seconds)

    return act


def raised(played: Played, sdk_is_1: bool) -> str:
    """Return the message of the error that the handler caught, after checking its type."""
    assert played.result["type"] == ("CallableRuntimeError" if sdk_is_1 else "InvokeError")
    message: str = played.result["raised"]
    return message


@pytest.mark.parametrize("target", [PROGRAM, f"{PROGRAM}:$LATEST"])
def test_an_invoke_is_shown_with_its_target_and_its_result(aws: PacedMachine, target: str) -> None:
    payload = {"program": "echoes", "word": "a"}
    played = aws.play("invokes", after(LATER_S, aws), **call(target, **payload))
    assert played.result == {"echo": "a", "tenant": None}
    assert history(aws, played.arn) == success(
        played,
        *(invoke_started(PROGRAM, **payload), INVOKED),
        OTHER.row("ChainedInvokeSucceeded", Result=held(json.dumps(played.result))),
    )


def test_an_invoke_for_a_tenant_names_it(aws: PacedMachine) -> None:
    payload = {"program": "echoes", "word": "a"}
    played = aws.play("invokes", after(LATER_S, aws), **call("for_tenants", "blue", **payload))
    assert played.result == {"echo": "a", "tenant": "blue"}
    assert history(aws, played.arn) == success(
        played,
        *(invoke_started("for_tenants", "blue", **payload), INVOKED),
        OTHER.row("ChainedInvokeSucceeded", Result=held(json.dumps(played.result))),
    )


@pytest.mark.parametrize(
    ("target", "tenant", "hint"),
    [("for_tenants", None, "Add a valid tenant ID in"), (PROGRAM, "blue", "Remove the tenant ID")],
)
def test_an_invoke_fails_without_its_tenant_or_with_one_too_many(
    aws: PacedMachine, sdk_is_1: bool, target: str, tenant: str | None, hint: str
) -> None:
    played = aws.play("invokes", **call(target, tenant, program="echoes"))
    message = raised(played, sdk_is_1)
    assert hint in message
    error = failure(message, "InvalidParameterValueException")
    # The refusal comes from the target's own place, before or after the invocation has ended.
    assert [row for row in history(aws, played.arn) if row != INVOKED] == [
        *(started(played.event), invoke_started(target, tenant, program="echoes")),
        *(OTHER.row("ChainedInvokeFailed", Error=error), succeeded(played.result)),
    ]


def test_an_invoke_fails_with_its_target(aws: PacedMachine, sdk_is_1: bool) -> None:
    played = aws.play("invokes", after(LATER_S, aws), **call(PROGRAM, program="refuses"))
    assert raised(played, sdk_is_1) == "target"
    assert history(aws, played.arn) == success(
        played,
        *(invoke_started(PROGRAM, program="refuses"), INVOKED),
        OTHER.row("ChainedInvokeFailed", Error=failure("target")),
    )


def test_an_invoke_of_a_missing_function_fails_within_the_invocation(
    aws: PacedMachine, sdk_is_1: bool
) -> None:
    played = aws.play("invokes", **call("nowhere", program="echoes"))
    assert raised(played, sdk_is_1) == "Function not found: nowhere"
    error = failure("Function not found: nowhere", "ResourceNotFoundException")
    assert history(aws, played.arn) == success(
        played,
        invoke_started("nowhere", program="echoes"),
        OTHER.row("ChainedInvokeFailed", Error=error),
    )


def test_an_invoke_times_out_with_its_target(aws: PacedMachine, sdk_is_1: bool) -> None:
    played = aws.play("invokes", after(SHORT_S, aws), **call("short", program="sleeps"))
    message = f"CHAINED_INVOKE timed out after {SHORT_S} seconds."
    assert raised(played, sdk_is_1) == message
    error = failure(message, "ChainedInvoke.Timeout")
    assert history(aws, played.arn) == success(
        played,
        *(invoke_started("short", program="sleeps"), INVOKED),
        OTHER.row("ChainedInvokeTimedOut", Error=error),
    )


def test_an_invoke_is_stopped_with_its_target(aws: PacedMachine, sdk_is_1: bool) -> None:
    error = {"ErrorMessage": "enough", "ErrorType": "Operator", "ErrorData": "data"}

    def stops(arn: str) -> None:
        child = child_of(aws, arn)
        aws.client.stop_durable_execution(DurableExecutionArn=child, Error=error)

    played = aws.play("invokes", stops, **call(PROGRAM, program="sleeps"))
    assert raised(played, sdk_is_1) == "enough"
    assert history(aws, played.arn) == success(
        played,
        *(invoke_started(PROGRAM, program="sleeps"), INVOKED),
        OTHER.row("ChainedInvokeStopped", Error=held(error)),
    )
