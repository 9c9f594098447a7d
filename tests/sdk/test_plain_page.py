"""The functions on `docs/plain-functions.md`, run as the page describes them."""

import re
from pathlib import Path
from typing import Any

from perdure.testing import DurableFunctionTestRunner

PAGE = Path(__file__).parent.parent.parent / "docs" / "plain-functions.md"


def test_the_functions_of_the_page_run() -> None:
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, namespace)
    with DurableFunctionTestRunner(namespace["quote"]) as runner:
        runner.register_function("price", namespace["price"])
        assert runner.run(["lamp", "chair"]).value == 9
