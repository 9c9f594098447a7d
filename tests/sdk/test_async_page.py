"""The functions on `docs/async.md`, run as the page describes them."""

import pytest

from perdure.worker_api import Succeeded
from perdure_core.state import is_open
from tests.sdk.hosted import Hosted
from tests.sdk.page_functions import functions_of

PAGE = "async.md"
EVENT = '{"urls": ["a", "bb"]}'


@pytest.mark.parametrize(
    ("name", "result"), [("survey", '[[13, 14], "yes"]'), ("crawl", "[13, 14]")]
)
def test_a_function_of_the_page_runs(name: str, result: str) -> None:
    functions = functions_of(PAGE)
    host = Hosted(functions[name], EVENT)
    host.run()
    while is_open(host.state):
        if host.state.callbacks_open:
            host.succeed_callback("yes")
        else:
            host.pass_time()
        host.run()
    assert host.outcomes[-1] == Succeeded(result)
