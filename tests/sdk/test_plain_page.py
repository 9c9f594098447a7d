"""The functions on `docs/plain-functions.md`, run as the page describes them."""

from perdure.testing import DurableFunctionTestRunner
from tests.sdk.page_functions import functions_of

PAGE = "plain-functions.md"


def test_the_functions_of_the_page_run() -> None:
    functions = functions_of(PAGE)
    with DurableFunctionTestRunner(functions["quote"]) as runner:
        runner.register_function("price", functions["price"])
        assert runner.run(["lamp", "chair"]).value == 9
