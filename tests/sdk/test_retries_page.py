"""The code on `docs/retries.md`, run as the page describes it."""

import re
from pathlib import Path
from typing import Any

import pytest

from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted

PAGE = Path(__file__).parent.parent.parent / "docs" / "retries.md"


def namespace() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


@pytest.mark.parametrize(
    ("name", "result", "seconds"), [("order", '"receipt"', 30), ("book", '"seat 2"', 5)]
)
def test_a_function_of_the_page_does_what_it_says(name: str, result: str, seconds: int) -> None:
    host = Hosted(namespace()[name], "{}")
    began_ms = host.now_ms
    assert host.finish() == Succeeded(result)
    assert host.now_ms - began_ms == seconds * 1_000
