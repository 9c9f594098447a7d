"""The approval example: shipped, refused, and timed out."""

import pytest

from examples.order_with_approval import order_with_approval
from perdure.testing import DurableFunctionTestRunner, for_each_crash

ORDER = {"order_id": "o-1", "amount": 120}
APPROVED = '{"approved": true}'
SHIPPED = {"order_id": "o-1", "status": "shipped", "parcel": "parcel-o-1"}


def approve(runner: DurableFunctionTestRunner, arn: str) -> None:
    runner.send_callback_success(runner.wait_for_callback(arn), APPROVED)


def test_an_approved_order_is_shipped_whenever_its_worker_dies() -> None:
    results = for_each_crash(order_with_approval, ORDER, drive=approve)
    assert [result.value for result in results] == [SHIPPED] * len(results)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [('{"approved": false}', "refused"), ('{"approved": false, "reason": "a joke"}', "a joke")],
)
def test_a_refused_order_is_refunded(decision: str, reason: str) -> None:
    with DurableFunctionTestRunner(order_with_approval) as runner:
        arn = runner.run_async(ORDER)
        runner.send_callback_success(runner.wait_for_callback(arn), decision)
        result = runner.wait_for_result(arn)
    assert result.value == {"order_id": "o-1", "status": "refunded", "reason": reason}
    names = [operation.name for operation in result.operations]
    assert names == ["take_payment", "ask_for_approval", "refund"]


def test_an_order_whose_approval_failed_is_refunded() -> None:
    with DurableFunctionTestRunner(order_with_approval) as runner:
        arn = runner.run_async(ORDER)
        runner.send_callback_failure(runner.wait_for_callback(arn), "the shop is closed")
        result = runner.wait_for_result(arn)
    assert result.value["reason"] == "the shop is closed"


def test_an_undecided_order_is_refunded_after_two_days() -> None:
    with DurableFunctionTestRunner(order_with_approval) as runner:
        began = runner.now
        result = runner.run(ORDER)
        assert (runner.now - began).days == 2
    assert result.value["reason"] == "nobody decided in time"
    assert result.get_step("refund").status == "SUCCEEDED"
