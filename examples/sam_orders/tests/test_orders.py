"""The tests of the project, which run against whatever boto3 is pointed at."""

import json
from typing import Any

import pytest
from aws_durable_execution_sdk_python_testing import DurableFunctionCloudTestRunner

APPROVED: Any = {"order_id": "t-1", "items": ["book", "lamp"]}
DECLINED: Any = {"order_id": "t-2", "items": ["piano"]}


@pytest.fixture
def orders() -> DurableFunctionCloudTestRunner:
    """The deployed function."""
    return DurableFunctionCloudTestRunner("dev-orders", region="us-east-1", poll_interval=0.2)


def test_an_approved_order_is_confirmed(orders: DurableFunctionCloudTestRunner) -> None:
    """Somebody approves, after having asked for more time."""
    arn = orders.run_async(APPROVED)
    callback_id = orders.wait_for_callback(arn, name="approval")
    orders.send_callback_heartbeat(callback_id)
    orders.send_callback_success(callback_id, b"Ada")

    result = orders.wait_for_result(arn)

    assert result.status.name == "SUCCEEDED"
    assert json.loads(result.result or "")["receipt"] == "receipt-t-1-65"
    assert result.get_context("confirmation").get_step("tell").result == '"confirmed t-1"'


def test_what_no_card_pays_fails_the_order(orders: DurableFunctionCloudTestRunner) -> None:
    """The function that was invoked says why."""
    result = orders.run(DECLINED)

    assert result.status.name == "FAILED"
    assert result.error is not None
    assert result.error.message == "no card pays 4000"
