"""The code that `docs/time-and-control.md` shows runs, and does what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from perdure.invocation import Succeeded
from tests.sdk.hosted import Hosted

PAGE = Path(__file__).parent.parent.parent / "docs" / "time-and-control.md"


def shown() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


@pytest.mark.parametrize(
    ("name", "event", "result"),
    [("ship_not_before_tomorrow", '{"order": "7"}', '"charged 7"')],
)
def test_a_function_of_the_page_does_what_it_says(name: str, event: str, result: str) -> None:
    assert Hosted(shown()[name], event).finish() == Succeeded(result)
