"""What handlers of the published AWS SDK, versions 1 and 3, record: whole histories, by boto3."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from perdure_core.limits import ERROR_BYTES_MAX
from tests.hosting.hosted import HostedMachine
from tests.hosting.sdks import hosted_by_each_sdk
from tests.lambda_api import aws_history
from tests.lambda_api.aws_history import (
    EXECUTION_TIMEOUT_S,
    INVOKED,
    LATER_S,
    SOME,
    Told,
    held,
    history,
    succeeded,
)
from tests.system.processes import ROOT, wait_until

pytestmark = pytest.mark.timeout(240)

FUNCTIONS: Final = ROOT / "tests" / "lambda_api" / "functions" / "singles.toml"
# Long enough for a callback to be completed, and for what that brings, on a busy machine.
WAIT_BESIDE_S: Final = 15

aws = hosted_by_each_sdk(FUNCTIONS, "aws")

CALLS: Final[Mapping[str, tuple[str, object]]] = {
    "step then wait": ("step_then_wait", {"q": 1}),
    "beside": ("waits_beside_a_callback", {"seconds": WAIT_BESIDE_S}),
    "fails twice": ("fails_twice", None),
    "at most once": ("at_most_once", None),
    "timeout": ("asks", {"timeout": LATER_S, "heartbeat": 0}),
    "heartbeat": ("asks", {"timeout": 60, "heartbeat": LATER_S}),
    "success": ("asks", {"timeout": 60, "heartbeat": 30}),
    "failure": ("asks", {"timeout": 60, "heartbeat": 30}),
    "submitted": ("waits_for_callback", None),
    "invoked": ("invokes", {"target": "target:$LATEST", "payload": {"fails": False}}),
    "invoked fails": ("invokes", {"target": "target", "payload": {"fails": True}}),
    "missing": ("invokes", {"target": "nowhere", "payload": {"fails": False}}),
    "slow": ("invokes", {"target": "slow_target", "payload": {"fails": False}}),
}


class Started:
    """Executions of all calls, started at once so that they wait side by side."""

    def __init__(self, hosted: HostedMachine, marker: Path) -> None:
        self.hosted = hosted
        self.calls = {**CALLS, "second sample": ("step_wait_retry_poll", {"marker": str(marker)})}
        self.arns = {name: hosted.start(*call) for name, call in self.calls.items()}
        client = hosted.client
        for name in ("beside", "success", "submitted"):
            client.send_durable_execution_callback_success(
                CallbackId=self._callback(name), Result=b'"yes"'
            )
        error = {"ErrorType": "No", "ErrorMessage": "no", "ErrorData": "data"}
        client.send_durable_execution_callback_failure(
            CallbackId=self._callback("failure"), Error=error
        )

    def _callback(self, name: str) -> str:
        """Return the id of a call's callback, once its first invocation has ended."""
        found: dict[str, Any] = {}

        def is_asked() -> bool:
            found.update({each["EventType"]: each for each in self.hosted.events(self.arns[name])})
            return "InvocationCompleted" in found

        wait_until(is_asked, f"{name}: the handler asks")
        identifier: str = found["CallbackStarted"]["CallbackStartedDetails"]["CallbackId"]
        return identifier

    def told(self, name: str, **options: Any) -> list[Told]:
        """Return the history of a call, once it has ended."""
        arn = self.arns[name]

        def has_ended() -> bool:
            status = self.hosted.client.get_durable_execution(DurableExecutionArn=arn)["Status"]
            return bool(status != "RUNNING")

        wait_until(has_ended, f"{name}: the execution has ended")
        return history(self.hosted, arn, **options)

    def succeeded(self, name: str, result: object, *between: Told) -> list[Told]:
        """Return the history that a call must have when it succeeds."""
        return [self.start(name), *between, INVOKED, succeeded(result)]

    def start(self, name: str) -> Told:
        """Return the first event of a call."""
        return aws_history.started(self.calls[name][1])


@pytest.fixture(scope="module")
def started(aws: HostedMachine, tmp_path_factory: pytest.TempPathFactory) -> Started:
    return Started(aws, tmp_path_factory.mktemp("marks") / "marker")


def given(key: str, payload: object) -> dict[str, Any]:
    return {key: held(payload)}


def failure(message: str, kind: str, **more: str) -> dict[str, Any]:
    return given("Error", {"ErrorMessage": message, "ErrorType": kind, **more})


def attempt(number: int, delay_s: int | None = None) -> dict[str, Any]:
    following = {} if delay_s is None else {"NextAttemptDelaySeconds": delay_s}
    return {"RetryDetails": {"CurrentAttempt": number, **following}}


def step(
    place: str, name: str, details: dict[str, Any], sub_type: str = "Step", parent: str = ""
) -> list[Told]:
    """Return an attempt, which failed if its details tell an error."""
    end = "StepFailed" if "Error" in details else "StepSucceeded"
    about = (place, name, sub_type, parent)
    return [Told("StepStarted", *about), Told(end, *about, details)]


def wait(kind: str, place: str, seconds: int) -> Told:
    return Told(kind, place, "rest", "Wait", details={"Duration": seconds})


def callback(kind: str, details: dict[str, Any]) -> Told:
    return Told(kind, "1", "approval", "Callback", details=details)


def chained(kind: str, details: dict[str, Any]) -> Told:
    return Told(kind, "1", "other", "ChainedInvoke", details=details)


def chained_start(function: str, payload: str) -> Told:
    details = {"FunctionName": function, **given("Input", payload)}
    run = {"ExecutedVersion": "$LATEST", "DurableExecutionArn": SOME}
    return chained("ChainedInvokeStarted", {**details, **({} if function == "nowhere" else run)})


def test_a_step_then_a_wait_is_told_as_aws_tells_it(started: Started) -> None:
    assert started.told("step then wait") == started.succeeded(
        "step then wait",
        2,
        *step("1", "add", {**given("Result", "2"), **attempt(1)}),
        wait("WaitStarted", "2", LATER_S),
        INVOKED,
        wait("WaitSucceeded", "2", LATER_S),
    )


def test_retries_and_polls_are_told_by_attempt_and_delay(started: Started) -> None:
    record = given("Result", '{"t":"m","v":{"k":{"t":"i","v":1}}}')
    poll = ("4", "poll")
    assert started.told("second sample") == started.succeeded(
        "second sample",
        2,
        *step("1", "first", {**record, **attempt(1)}),
        wait("WaitStarted", "2", LATER_S),
        INVOKED,
        wait("WaitSucceeded", "2", LATER_S),
        *step("3", "flaky", {**failure("flaky", "ValueError"), **attempt(1, LATER_S)}),
        INVOKED,
        *step("3", "flaky", {**given("Result", '"steady"'), **attempt(2)}),
        *step(*poll, {**given("Result", "1"), **attempt(1, LATER_S)}, "WaitForCondition"),
        INVOKED,
        *step(*poll, {**given("Result", "2"), **attempt(2)}, "WaitForCondition"),
    )


def test_a_last_failure_has_no_next_attempt(started: Started) -> None:
    *told, end = started.told("fails twice")
    boom = failure("boom", "ValueError")
    assert told == [
        started.start("fails twice"),
        *step("1", "bad", {**boom, **attempt(1, LATER_S)}),
        INVOKED,
        *step("1", "bad", {**boom, **attempt(2)}),
        INVOKED,
    ]
    # Version 1 and version 3 name what a failed step raises differently.
    assert end in [
        Told("ExecutionFailed", details=failure("boom", kind))
        for kind in (
            "CallableRuntimeError",
            "aws_durable_execution_sdk_python.exceptions.StepError",
        )
    ]


def test_steps_that_run_at_most_once_are_told_like_others(started: Started) -> None:
    assert started.told("at most once") == started.succeeded(
        "at most once",
        ["paid", {"raised": "boom"}],
        *step("1", "pay", {**given("Result", '"paid"'), **attempt(1)}),
        *step("2", "bad", {**failure("boom", "ValueError"), **attempt(1)}),
    )


@pytest.mark.parametrize(
    ("name", "limits", "kind", "details", "result"),
    [
        ("success", (60, 30), "Succeeded", given("Result", '"yes"'), '"yes"'),
        (
            "failure",
            (60, 30),
            "Failed",
            failure("no", "No", ErrorData="data"),
            {"raised": "no"},
        ),
        (
            "timeout",
            (LATER_S, None),
            "TimedOut",
            failure("Callback timed out", "Callback.Timeout"),
            {"raised": "Callback timed out"},
        ),
        (
            "heartbeat",
            (60, LATER_S),
            "TimedOut",
            failure("Callback timed out on heartbeat", "Callback.Heartbeat"),
            {"raised": "Callback timed out on heartbeat"},
        ),
    ],
)
def test_a_callback_is_told_with_its_limits_and_its_end(
    started: Started,
    name: str,
    limits: tuple[int, int | None],
    kind: str,
    details: dict[str, Any],
    result: object,
) -> None:
    timeout, heartbeat = limits
    start = {"CallbackId": SOME, "Timeout": timeout}
    silence = {} if heartbeat is None else {"HeartbeatTimeout": heartbeat}
    assert started.told(name) == started.succeeded(
        name,
        result,
        callback("CallbackStarted", {**start, **silence}),
        INVOKED,
        callback(f"Callback{kind}", details),
    )


def test_wait_for_callback_is_a_context_with_a_callback_and_a_submitter(started: Started) -> None:
    context = ("1", "approval", "WaitForCallback")
    inner = ("1-1", "approval create callback id", "Callback", "1")
    submitted = {**given("Result", "null"), **attempt(1)}
    assert started.told("submitted") == started.succeeded(
        "submitted",
        '"yes"',
        Told("ContextStarted", *context),
        Told("CallbackStarted", *inner, {"CallbackId": SOME}),
        *step("1-2", "approval submitter", submitted, parent="1"),
        INVOKED,
        Told("CallbackSucceeded", *inner, given("Result", '"yes"')),
        Told("ContextSucceeded", *context, details=given("Result", json.dumps('"yes"'))),
    )


def test_a_callback_completed_during_a_wait_invokes_then_and_when_the_wait_ends(
    started: Started,
) -> None:
    assert started.told("beside") == started.succeeded(
        "beside",
        '"yes"',
        callback("CallbackStarted", {"CallbackId": SOME}),
        wait("WaitStarted", "2", WAIT_BESIDE_S),
        INVOKED,
        callback("CallbackSucceeded", given("Result", '"yes"')),
        INVOKED,
        wait("WaitSucceeded", "2", WAIT_BESIDE_S),
    )


@pytest.mark.parametrize(
    ("name", "kind", "details", "result"),
    [
        (
            "invoked",
            "Succeeded",
            given("Result", '{"echo": {"fails": false}}'),
            {"echo": {"fails": False}},
        ),
        ("invoked fails", "Failed", failure("target", "ValueError"), {"raised": "target"}),
        (
            "slow",
            "TimedOut",
            failure("CHAINED_INVOKE timed out after 3 seconds.", "ChainedInvoke.Timeout"),
            {"raised": "CHAINED_INVOKE timed out after 3 seconds."},
        ),
    ],
)
def test_an_invoke_is_told_with_its_target_and_its_end(
    started: Started, name: str, kind: str, details: dict[str, Any], result: object
) -> None:
    call: Any = started.calls[name][1]
    target = call["target"].removesuffix(":$LATEST")
    assert started.told(name) == started.succeeded(
        name,
        result,
        chained_start(target, json.dumps(call["payload"])),
        INVOKED,
        chained(f"ChainedInvoke{kind}", details),
    )


def test_an_invoke_of_a_missing_function_fails_within_the_invocation(started: Started) -> None:
    error = failure("Function not found: nowhere", "ResourceNotFoundException")
    assert started.told("missing") == started.succeeded(
        "missing",
        {"raised": "Function not found: nowhere"},
        chained_start("nowhere", '{"fails": false}'),
        chained("ChainedInvokeFailed", error),
    )


def test_payloads_are_left_out_and_marked_where_they_are_not_asked_for(started: Started) -> None:
    cut = {"Truncated": True}
    assert started.told("at most once", IncludeExecutionData=False) == [
        Told(
            "ExecutionStarted",
            details={"Input": cut, "ExecutionTimeout": EXECUTION_TIMEOUT_S},
        ),
        *step("1", "pay", {"Result": cut, **attempt(1)}),
        *step("2", "bad", {"Error": cut, **attempt(1)}),
        INVOKED,
        Told("ExecutionSucceeded", details={"Result": cut}),
    ]


def test_a_result_beyond_what_a_handler_may_return_is_recorded_by_its_checkpoint(
    aws: HostedMachine,
) -> None:
    size = 6 * 1024 * 1024 - 2
    invoked = aws.invoke("large_result", {"size": size})
    assert (invoked.function_error, len(invoked.result)) == (None, size)
    # A history tells that it is there; the answer of the call has carried it.
    (_, *told) = history(aws, invoked.arn)
    assert told == [INVOKED, Told("ExecutionSucceeded", details={"Result": {"Truncated": True}})]


def test_an_error_beyond_its_bound_is_cut_and_fails_the_execution(aws: HostedMachine) -> None:
    whole = aws.invoke("large_error", {"size": 300_000})
    assert whole.result["errorMessage"] == "x" * 300_000
    invoked = aws.invoke("large_error", {"size": ERROR_BYTES_MAX})
    assert invoked.result["errorType"] == "ValueError"
    message = invoked.result["errorMessage"]
    assert message.startswith("xxx")
    assert len(message) < ERROR_BYTES_MAX
    end = Told("ExecutionFailed", details=failure(message, "ValueError"))
    assert history(aws, invoked.arn)[1:] == [INVOKED, end]


def test_the_large_error_of_a_step_is_the_same_in_every_invocation(aws: HostedMachine) -> None:
    invoked = aws.invoke("large_step_error", {"size": 500_000})
    assert invoked.result == [500_000, 500_000]
    (failed,) = [each for each in aws.events(invoked.arn) if each["EventType"] == "StepFailed"]
    error = failed["StepFailedDetails"]["Error"]
    assert (len(error["Payload"]["ErrorMessage"]), error["Truncated"]) == (500_000, False)
