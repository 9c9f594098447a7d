"""The checkout example: paid, or declined and the goods released."""

from examples.chained_services import checkout, payment
from perdure.testing import DurableFunctionTestRunner, for_each_crash


def offer_payment(runner: DurableFunctionTestRunner) -> None:
    runner.register_durable_function("payment", payment)


def test_a_checkout_is_paid_whenever_a_worker_dies() -> None:
    results = for_each_crash(checkout, {"order_id": "o-1", "amount": 90}, prepare=offer_payment)
    for result in results:
        receipt = {"authorization": "authorization-o-1", "captured": True}
        assert result.value == {"status": "paid", "receipt": receipt}


def test_a_declined_payment_releases_the_goods() -> None:
    with DurableFunctionTestRunner(checkout) as runner:
        offer_payment(runner)
        result = runner.run({"order_id": "o-2", "amount": 9_000})
    assert result.value == {"status": "declined", "reason": "9000 is more than 5000"}
    assert result.get_invoke("pay").status == "FAILED"
    assert result.get_step("release").status == "SUCCEEDED"


def test_a_missing_payment_function_releases_the_goods() -> None:
    with DurableFunctionTestRunner(checkout) as runner:
        result = runner.run({"order_id": "o-3", "amount": 90})
    assert result.value["status"] == "declined"
