"""The functions that `docs/time-and-control.md` shows do what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from perdure.invocation import Succeeded
from tests.sdk.hosted import Hosted

PAGE = Path(__file__).parent.parent.parent / "docs" / "time-and-control.md"


def shown() -> dict[str, Any]:
    """Return the names that the blocks of the page define, in order."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


@pytest.mark.parametrize(
    ("name", "event", "result", "seconds"),
    [
        ("pay", '{"cents": 250}', "250", 0),
        ("consult", None, '"answered"', 90),
    ],
)
def test_a_function_of_the_page_runs(name: str, event: str, result: str, seconds: int) -> None:
    host = Hosted(shown()[name], event)
    began_ms = host.now_ms
    assert host.finish() == Succeeded(result)
    assert (host.now_ms - began_ms) // 1_000 == seconds
