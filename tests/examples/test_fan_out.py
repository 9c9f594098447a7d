"""The fan-out example: all pictures resized but a few, or the batch fails."""

from examples.fan_out import resize_all
from perdure.testing import DurableFunctionTestRunner, for_each_crash


def test_a_thousand_pictures_are_resized_but_the_broken_ones() -> None:
    with DurableFunctionTestRunner(resize_all) as runner:
        result = runner.run({"pictures": 1_000, "broken_every": 100})
    value = result.value
    assert value["resized"] == 990
    assert value["broken"] == [f"picture-{number:04}.png" for number in range(100, 1_001, 100)]
    assert result.get_context("picture-0100.png").status == "FAILED"


def test_too_many_broken_pictures_fail_the_batch_early() -> None:
    with DurableFunctionTestRunner(resize_all) as runner:
        result = runner.run({"pictures": 1_000, "broken_every": 10})
    assert result.execution_status == "FAILED"
    assert result.error is not None
    assert (result.error.type or "").endswith("TooManyBrokenError")
    assert len(result.get_context("resize-all").child_operations) < 1_000


def test_a_few_pictures_are_resized_whenever_their_worker_dies() -> None:
    results = for_each_crash(resize_all, {"pictures": 5, "broken_every": 100})
    assert {result.value["resized"] for result in results} == {5}
