"""The plugin on `docs/plugins.md`, run as the page describes it."""

import re
from pathlib import Path
from typing import Any

from perdure.testing import DurableFunctionTestRunner

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


def test_the_plugin_of_the_page_times_every_attempt() -> None:
    namespace: dict[str, Any] = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(block, namespace)
    with DurableFunctionTestRunner(namespace["process"]) as runner:
        assert runner.run({"order": 7}).value == "charged 7"
    times = namespace["step_times"].times
    assert [line[:3] for line in times] == [("charge", 1, "FAILED"), ("charge", 2, "SUCCEEDED")]
    assert all(took_s >= 0 for *_, took_s in times)
