"""Outcomes of hosted invocations, with Lambda's error texts."""

import json
from typing import Any

import pytest

from perdure.worker_api import Errored, Failed, FunctionSettings, Outcome, Pending, Succeeded
from perdure_core.model import ErrorObject
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.processes.frames import HandlerError, InitFailed, Raised, Returned
from perdure_worker.hosting.processes.outcomes import outcome_of, refusal_of
from perdure_worker.hosting.processes.pool import RunResult
from perdure_worker.hosting.processes.process import Exited, InitTimedOut, TimedOut


def ended(result: RunResult, *, durable: bool = True) -> Outcome:
    definition = HostedDefinition(
        settings=FunctionSettings("f"), handler="a.b", folder="/", timeout_s=3, durable=durable
    )
    return outcome_of(definition, result, "r-1")


def returned(output: Any) -> Outcome:
    return ended(Returned(json.dumps(output)))


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        ({"Status": "SUCCEEDED", "Result": "1"}, Succeeded("1")),
        ({"Status": "SUCCEEDED", "Result": ""}, Succeeded("")),
        ({"Status": "SUCCEEDED", "Extra": 1}, Succeeded(None)),
        ({"Status": "SUCCEEDED", "Result": "x" * 6_291_456}, Succeeded("x" * 6_291_456)),
        ({"Status": "PENDING"}, Pending()),
        ({"Status": "FAILED"}, Failed(ErrorObject())),
        (
            {
                "Status": "FAILED",
                "Error": {"ErrorMessage": "m", "ErrorType": "T", "StackTrace": ["a"]},
            },
            Failed(ErrorObject("m", "T", None, ("a",))),
        ),
    ],
)
def test_what_the_sdk_returns_is_the_outcome(output: Any, outcome: Outcome) -> None:
    assert returned(output) == outcome


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"Status": "SUCCEEDED", "Error": {}}, "Cannot return SUCCEEDED status with an error."),
        ({"Status": "PENDING", "Error": {}}, "Cannot return PENDING status with an error."),
        ({"Status": "PENDING", "Result": "1"}, "Cannot return PENDING status with a result."),
        ({"Status": "FAILED", "Result": "1"}, "Cannot return FAILED status with a result."),
        ({"Status": "DONE"}, "Invalid Status in invocation output: 'DONE'."),
        ({}, "Invalid Status in invocation output: None."),
        ("hello", "Invalid Status in invocation output. The handler of a durable function"),
        (None, "Invalid Status in invocation output. The handler of a durable function"),
        ({"Status": "SUCCEEDED", "Result": {"a": 1}}, "Invalid Status in invocation output."),
        ({"Status": "SUCCEEDED", "Result": "x" * 6_291_457}, "The result is 6,291,457 bytes;"),
    ],
)
def test_what_no_sdk_returns_fails_the_execution(output: Any, message: str) -> None:
    outcome = returned(output)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "InvalidParameterValueException"
    assert (outcome.error.message or "").startswith(message)


@pytest.mark.parametrize(
    ("result", "error_type", "message"),
    [
        (
            TimedOut(3),
            "Sandbox.Timedout",
            "RequestId: r-1 Error: Task timed out after 3.00 seconds",
        ),
        (
            InitTimedOut(60.0),
            "Sandbox.Timedout",
            "RequestId: r-1 Error: Initialization timed out after 60.00 seconds",
        ),
        (
            Exited(1),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited with error: exit status 1",
        ),
        (
            Exited(0),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited without providing a reason",
        ),
        (
            Exited(-9),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited with error: signal: killed",
        ),
        (
            Exited(-11),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited with error: signal: segmentation fault",
        ),
        (
            Exited(-40),
            "Runtime.ExitError",
            "RequestId: r-1 Error: Runtime exited with error: signal: signal 40",
        ),
        (Raised(HandlerError("m", "T")), "T", "m"),
        (InitFailed(HandlerError("m", "T")), "T", "m"),
    ],
)
def test_what_breaks_an_invocation_fails_plain_executions_only(
    result: RunResult, error_type: str, message: str
) -> None:
    error = ErrorObject(message, error_type)
    assert ended(result) == Errored(error)
    assert ended(result, durable=False) == Failed(error)


def test_a_plain_result_is_bounded() -> None:
    assert ended(Returned("1"), durable=False) == Succeeded("1")
    too_large = ended(Returned(f'"{"x" * 6_291_455}"'), durable=False)
    assert isinstance(too_large, Failed)


def test_a_plain_handler_is_given_events_up_to_the_bound() -> None:
    assert refusal_of("x" * 6_291_456) is None
    assert refusal_of("x" * 6_291_457) == Failed(
        ErrorObject(
            "The input is 6,291,457 bytes; at most 6,291,456 are allowed.",
            "InvalidParameterValueException",
        )
    )
