"""The code on `docs/retries.md`, run as the page describes it."""

import pytest

from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted
from tests.sdk.page_functions import functions_of

PAGE = "retries.md"


@pytest.mark.parametrize(
    ("name", "result", "seconds"), [("order", '"receipt"', 30), ("book", '"seat 2"', 5)]
)
def test_a_function_of_the_page_does_what_it_says(name: str, result: str, seconds: int) -> None:
    host = Hosted(functions_of(PAGE)[name], "{}")
    began_ms = host.now_ms
    assert host.finish() == Succeeded(result)
    assert host.now_ms - began_ms == seconds * 1_000
