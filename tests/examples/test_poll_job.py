"""The polling example: fetched when done, cancelled when it takes too long."""

from examples.poll_job import render_film
from perdure.testing import DurableFunctionTestRunner, for_each_crash


def test_a_film_is_fetched_when_it_is_rendered() -> None:
    with DurableFunctionTestRunner(render_film) as runner:
        result = runner.run({"film": "f-1", "checks_needed": 3})
    assert result.value == {"status": "rendered", "file": "job-f-1.mp4"}
    assert result.get_step("rendered").attempt == 3


def test_a_film_that_takes_too_long_is_cancelled() -> None:
    with DurableFunctionTestRunner(render_film) as runner:
        began = runner.now
        result = runner.run({"film": "f-2", "checks_needed": 100})
        assert (runner.now - began).total_seconds() < 3_600
    assert result.value["status"] == "cancelled"
    assert "12 checks" in result.value["reason"]
    assert result.get_step("cancel_job").status == "SUCCEEDED"


def test_a_film_is_rendered_whenever_its_worker_dies() -> None:
    results = for_each_crash(render_film, {"film": "f-3", "checks_needed": 2})
    assert {result.value["status"] for result in results} == {"rendered"}
