"""The functions that a page of the documentation shows."""

import re
from typing import Any

from tests.system.processes import ROOT


def functions_of(page: str) -> dict[str, Any]:
    """Run the code of a page, block by block; return its names."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    return names
