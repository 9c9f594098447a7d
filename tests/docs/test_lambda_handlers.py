"""The page about Lambda handlers, followed from its first line to its last."""

from pathlib import Path

import pytest

from tests.docs.page import actions
from tests.docs.reader import Reader
from tests.system.processes import ROOT

PAGE = ROOT / "docs" / "lambda-handlers.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_handler_of_lambda_is_hosted_as_the_page_says(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for action in actions(PAGE.read_text(encoding="utf-8")):
            reader.follow(action)
