"""The published cloud test runner of AWS, against our server, as users' tests run it.

Hosted is the SAM project of `examples/sam_orders`, unmodified, by a real worker.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest
from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationStatus
from aws_durable_execution_sdk_python_testing import DurableFunctionCloudTestRunner
from aws_durable_execution_sdk_python_testing.exceptions import DurableFunctionsTestError

from tests.hosting.hosted import HostedMachine
from tests.system.processes import ROOT, Machine

pytestmark = pytest.mark.timeout(240)

TEMPLATE: Final = ROOT / "examples" / "sam_orders" / "template.yaml"
MORE: Final = ROOT / "tests" / "hosting" / "functions" / "cloud.toml"
ORDER_NUMBERS: Final = count(1)


class Cloud:
    """Runners for the functions of one server."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._runners: dict[str, DurableFunctionCloudTestRunner] = {}

    def runner(self, function: str) -> DurableFunctionCloudTestRunner:
        """Return the runner for a function."""
        if function not in self._runners:
            self._runners[function] = DurableFunctionCloudTestRunner(
                function, region="eu-west-3", lambda_endpoint=self._endpoint, poll_interval=0.1
            )
        return self._runners[function]

    def close(self) -> None:
        """Close the connections."""
        for runner in self._runners.values():
            client: Any = getattr(runner, "lambda_client")  # noqa: B009 - has no type to check
            client.close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start a server, and a worker with the project's functions, for runners without settings."""
    environment = {"ORDERS_TABLE": "orders"}
    with (
        pytest.MonkeyPatch.context() as patch,
        Machine(tmp_path_factory.mktemp("cloud"), environment=environment) as machine,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        machine.start_server()
        hosted = HostedMachine(machine, TEMPLATE, "--functions", str(MORE))
        runners = Cloud(f"http://{machine.http_address}")
        try:
            yield runners
        finally:
            runners.close()
            hosted.close()
            print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def a_charge(amount: int) -> Any:
    return {"order_id": "o", "amount": amount}


def an_order(*items: str) -> Any:
    return {"order_id": f"o-{next(ORDER_NUMBERS)}", "items": [*items]}


def test_a_run_waits_for_the_end_and_reads_the_result(cloud: Cloud) -> None:
    result = cloud.runner("dev-payments").run(a_charge(5), timeout=60)
    assert result.status.name == "SUCCEEDED"
    assert result.result == '"receipt-o-5"'
    step = result.get_step("card")
    assert (step.status, step.result) == (OperationStatus.SUCCEEDED, '"receipt-o-5"')
    assert step.attempt == 1


def test_every_view_of_a_result_shows_its_operation(cloud: Cloud) -> None:
    runner = cloud.runner("dev-orders")
    order = an_order("book", "lamp")
    arn = runner.run_async(order, timeout=60)
    callback_id = runner.wait_for_callback(arn, name="approval")
    runner.send_callback_heartbeat(callback_id)
    runner.send_callback_success(callback_id, b"Ada")
    result = runner.wait_for_result(arn)
    assert result.status.name == "SUCCEEDED"
    assert result.result is not None
    receipt = f"receipt-{order['order_id']}-65"
    assert json.loads(result.result) == {
        "reservation": f"orders/{order['order_id']}",
        "receipt": receipt,
        "approver": "Ada",
        "confirmation": f"confirmed {order['order_id']}",
    }
    assert [operation.name for operation in result.operations] == [
        *("reserve", "quote", "charge", "settle", "approval", "confirmation")
    ]
    assert {each.status for each in result.get_all_operations()} == {OperationStatus.SUCCEEDED}
    assert result.get_step("reserve").result == f'"orders/{order["order_id"]}"'
    assert result.get_invoke("quote").result == "65"
    assert result.get_invoke("charge").result == f'"{receipt}"'
    settled = result.get_wait("settle")
    assert settled.start_timestamp is not None
    assert settled.scheduled_end_timestamp is not None
    waited = settled.scheduled_end_timestamp - settled.start_timestamp
    assert waited.total_seconds() >= 1
    callback = result.get_callback("approval")
    assert (callback.callback_id, callback.result) == (callback_id, "Ada")
    context = result.get_context("confirmation")
    assert context.result == f'"confirmed {order["order_id"]}"'
    assert [child.name for child in context.child_operations] == ["packing", "tell"]
    assert context.get_wait("packing").status is OperationStatus.SUCCEEDED
    assert context.get_step("tell").result == f'"confirmed {order["order_id"]}"'


def test_a_callback_that_has_failed_fails_the_execution(cloud: Cloud) -> None:
    runner = cloud.runner("dev-orders")
    arn = runner.run_async(an_order("book"))
    callback_id = runner.wait_for_callback(arn)
    error = ErrorObject(message="not you", type="Denied", data="level 2", stack_trace=["here"])
    runner.send_callback_failure(callback_id, error)
    result = runner.wait_for_result(arn)
    assert result.status.name == "FAILED"
    assert result.error is not None
    assert "not you" in (result.error.message or "")
    callback = result.get_callback("approval")
    assert (callback.status, callback.error) == (OperationStatus.FAILED, error)


def test_a_failure_needs_no_error_and_a_success_no_result(cloud: Cloud) -> None:
    runner = cloud.runner("dev-orders")
    failing, succeeding = (runner.run_async(an_order("lamp")) for _ in range(2))
    runner.send_callback_failure(runner.wait_for_callback(failing, name="approval"))
    runner.send_callback_success(runner.wait_for_callback(succeeding, name="approval"))
    assert runner.wait_for_result(failing).status.name == "FAILED"
    result = runner.wait_for_result(succeeding)
    assert result.status.name == "SUCCEEDED"
    assert json.loads(result.result or "{}")["approver"] is None


def test_what_a_handler_raises_is_the_error_of_the_run(cloud: Cloud) -> None:
    result = cloud.runner("dev-payments").run(a_charge(1_001))
    assert result.status.name == "FAILED"
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("ValueError", "no card pays 1001")
    assert result.operations == []


def test_a_failed_invoke_is_seen_in_the_caller(cloud: Cloud) -> None:
    result = cloud.runner("dev-orders").run(an_order("piano"))
    assert result.status.name == "FAILED"
    invoked = result.get_invoke("charge")
    assert invoked.status is OperationStatus.FAILED
    assert invoked.error is not None
    assert invoked.error.message == "no card pays 4000"


def test_an_execution_past_its_timeout_is_timed_out(cloud: Cloud) -> None:
    result = cloud.runner("impatient").run()
    assert result.execution_status is not None
    assert result.execution_status.name == "TIMED_OUT"


def test_a_runner_gives_up_after_its_own_timeout(cloud: Cloud) -> None:
    runner = cloud.runner("dev-orders")
    arn = runner.run_async(an_order("book"))
    callback_id = runner.wait_for_callback(arn)
    with pytest.raises(TimeoutError, match="last status: RUNNING"):
        runner.wait_for_result(arn, timeout=1)
    with pytest.raises(TimeoutError, match="did not become available"):
        runner.wait_for_callback(arn, name="somebody else's", timeout=1)
    runner.send_callback_success(callback_id, b"late")
    assert runner.wait_for_result(arn).status.name == "SUCCEEDED"


def test_what_is_not_there_is_refused(cloud: Cloud) -> None:
    with pytest.raises(DurableFunctionsTestError, match="ResourceNotFoundException"):
        cloud.runner("nobody").run()
    with pytest.raises(DurableFunctionsTestError, match="callback_id"):
        cloud.runner("dev-orders").send_callback_success("no-callback", b"")


def test_a_plain_function_runs_too(cloud: Cloud) -> None:
    items: Any = ["book", "book"]
    result = cloud.runner("dev-quotes").run(items)
    assert (result.status.name, result.result) == ("SUCCEEDED", "40")


def test_plugins_of_a_handler_see_what_its_operations_came_to(cloud: Cloud) -> None:
    result = cloud.runner("watched").run("{}", timeout=60)
    assert result.result is not None
    assert json.loads(result.result) == [
        ["sum", "4", None],
        ["charge", None, "no card"],
        ["inner", "1", None],
        ["outer", "1", None],
    ]
