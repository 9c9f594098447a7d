"""The tutorial, followed from its first line to its last."""

from pathlib import Path

import pytest

from tests.docs.page import actions
from tests.docs.reader import Reader
from tests.system.processes import ROOT

PAGE = ROOT / "docs" / "tutorial.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for action in actions(PAGE.read_text(encoding="utf-8")):
            reader.follow(action)
