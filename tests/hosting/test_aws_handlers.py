"""Handlers written with the published AWS SDK, versions 1 and 3, run as they are."""

import base64
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hosting.hosted import HostedMachine
from tests.system.processes import wait_until

pytestmark = pytest.mark.timeout(240)

STEP = ["StepStarted", "StepSucceeded"]
END = ["InvocationCompleted", "ExecutionSucceeded"]


def test_steps_run_and_the_result_comes_back(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("steps", {"left": 1, "right": 2})
    assert (invoked.function_error, invoked.result) == (None, {"total": 4})
    assert invoked.kinds() == ["ExecutionStarted", *STEP, *STEP, *END]
    assert invoked.broken() == []


def test_a_callback_is_completed_from_outside(hosted_by_sdk: HostedMachine) -> None:
    arn = hosted_by_sdk.start("asks")
    found: list[str] = []

    def is_asked() -> bool:
        found.extend(
            event["CallbackStartedDetails"]["CallbackId"]
            for event in hosted_by_sdk.events(arn)
            if event["EventType"] == "CallbackStarted"
        )
        return bool(found)

    wait_until(is_asked, "the handler asks")
    hosted_by_sdk.client.send_durable_execution_callback_success(
        CallbackId=found[0], Result=b'"yes"'
    )
    name = arn.split("/")[-2]
    again = hosted_by_sdk.invoke("asks", DurableExecutionName=name)
    assert (again.arn, again.result) == (arn, {"answer": '"yes"'})


def test_a_handler_invokes_another_by_its_name(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("calls")
    assert invoked.result == {"total": 4}
    kinds = invoked.kinds()
    assert kinds[:2] == ["ExecutionStarted", "ChainedInvokeStarted"]
    assert kinds[-3:] == ["ChainedInvokeSucceeded", *END]


def test_tenants_never_share_a_process(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("calls_for_tenants", {"tenants": ["blue", "red", "blue"]})
    (blue, blue_pid), (red, red_pid), again = invoked.result
    assert (blue, red, again) == ("blue", "red", ["blue", blue_pid])
    assert blue_pid != red_pid


def test_a_function_that_keeps_tenants_apart_wants_one_named(
    hosted_by_sdk: HostedMachine,
) -> None:
    with pytest.raises(ClientError, match="enabled with tenancy configuration"):
        hosted_by_sdk.invoke("isolated")
    assert hosted_by_sdk.invoke("isolated", TenantId="green").result[0] == "green"


def test_a_map_runs_its_branches(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("maps", {"items": [1, 2, 3]})
    assert invoked.result == [2, 4, 6]
    assert invoked.kinds().count("ContextSucceeded") == 4


def test_a_timeout_ends_the_invocation_and_nothing_else(
    hosted_by_sdk: HostedMachine, tmp_path: Path
) -> None:
    invoked = hosted_by_sdk.invoke("sleeps_once", {"marker": str(tmp_path / "marker")})
    assert invoked.result == "awake"
    (error,) = invoked.broken()
    assert error["ErrorType"] == "Sandbox.Timedout"
    assert error["ErrorMessage"].endswith("Error: Task timed out after 6.00 seconds")
    # The step before is not run again.
    assert invoked.kinds() == ["ExecutionStarted", *STEP, "InvocationCompleted", *END]


@pytest.mark.parametrize(
    ("function", "status", "manner"),
    [
        ("exits_once", 1, "with error: exit status 1"),
        ("exits_once", 0, "without providing a reason"),
        ("killed_once", None, "with error: signal: killed"),
    ],
)
def test_an_exit_ends_the_invocation_and_nothing_else(
    hosted_by_sdk: HostedMachine, tmp_path: Path, function: str, status: int | None, manner: str
) -> None:
    event = {"marker": str(tmp_path / "marker"), "status": status}
    invoked = hosted_by_sdk.invoke(function, event)
    assert invoked.result == "alive"
    (error,) = invoked.broken()
    assert error["ErrorType"] == "Runtime.ExitError"
    assert error["ErrorMessage"].startswith("RequestId: ")
    assert error["ErrorMessage"].endswith(f" Error: Runtime exited {manner}")


def test_what_a_handler_raises_fails_the_execution(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("raises")
    assert invoked.function_error == "Unhandled"
    assert (invoked.result["errorType"], invoked.result["errorMessage"]) == (
        "ValueError",
        "not today",
    )
    assert invoked.kinds() == ["ExecutionStarted", "InvocationCompleted", "ExecutionFailed"]


def test_a_state_beyond_5_mib_is_fetched_in_pages(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("long_list", {"steps": 12, "size": 500_000})
    assert invoked.result == [500_000] * 12


def test_boto3_in_a_handler_reaches_the_lambda_api(hosted_by_sdk: HostedMachine) -> None:
    assert hosted_by_sdk.invoke("invokes_itself").result == '{"total": 6}'


def test_a_plain_handler_gets_the_event_and_a_context(hosted_by_sdk: HostedMachine) -> None:
    client = base64.b64encode(b'{"custom": {"device": "till 4"}}').decode()
    invoked = hosted_by_sdk.invoke("plain", {"a": [1, "ü"]}, ClientContext=client)
    result: dict[str, Any] = invoked.result
    assert 0 < result.pop("left") <= 60_000
    (end,) = [
        event["InvocationCompletedDetails"]
        for event in hosted_by_sdk.events(invoked.arn)
        if event["EventType"] == "InvocationCompleted"
    ]
    assert result == {
        "event": {"a": [1, "ü"]},
        "client": {"device": "till 4"},
        "request": end["RequestId"],
        "name": "plain",
        "arn": "arn:perdure:lambda:default:000000000000:function:plain:$LATEST",
        "greeting": "hello",
    }


def test_a_durable_handler_knows_its_client_in_every_invocation(
    hosted_by_sdk: HostedMachine,
) -> None:
    client = base64.b64encode(b'{"custom": {"device": "till 4"}}').decode()
    invoked = hosted_by_sdk.invoke("knows_its_client", ClientContext=client)
    assert invoked.result == [{"device": "till 4"}, {"device": "till 4"}]


@pytest.mark.parametrize(
    ("function", "error_type", "message"),
    [
        ("plain_raises", "KeyError", "'missing'"),
        (
            "not_there",
            "Runtime.ImportModuleError",
            "Unable to import module 'no_such_module': No module named 'no_such_module'",
        ),
    ],
)
def test_a_plain_handler_that_fails_fails_its_execution(
    hosted_by_sdk: HostedMachine, function: str, error_type: str, message: str
) -> None:
    invoked = hosted_by_sdk.invoke(function)
    error = (invoked.result["errorType"], invoked.result["errorMessage"])
    assert (invoked.function_error, error) == ("Unhandled", (error_type, message))


def test_lines_of_the_log_tell_request_and_execution(hosted_by_sdk: HostedMachine) -> None:
    invoked = hosted_by_sdk.invoke("steps", {"left": 70, "right": 2})
    hosted_by_sdk.invoke("plain")
    lines = hosted_by_sdk.lines()
    (line,) = [each for each in lines if each.get("left") == 70]
    assert (line["message"], line["level"], line["executionArn"]) == (
        "adding",
        "INFO",
        invoked.arn,
    )
    assert {"timestamp", "logger", "requestId", "functionName"} <= line.keys()
    printed = [each for each in lines if each.get("message") == "printed by plain"]
    assert printed[-1]["logger"] == "stdout"
    assert printed[-1]["functionName"] == "plain"
    assert len(printed[-1]["requestId"]) == 32


def test_each_version_of_the_sdk_is_under_test(
    hosted_by_sdk: HostedMachine, request: pytest.FixtureRequest
) -> None:
    version = request.node.callspec.params["hosted_by_sdk"].removeprefix("sdk ")
    assert hosted_by_sdk.invoke("sdk_version").result.partition(".")[0] == version
