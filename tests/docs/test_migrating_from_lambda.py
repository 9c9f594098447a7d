"""The page about moving a project from AWS Lambda, followed with the project it names."""

import shutil
from pathlib import Path

import pytest

from tests.docs.page import Launch, Type, actions, readdressed
from tests.docs.reader import Reader
from tests.system.processes import ROOT

PAGE = ROOT / "docs" / "migrating-from-lambda.md"
PROJECT = ROOT / "examples" / "sam_orders"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_project_moves_from_lambda_as_the_page_says(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    with Reader(tmp_path) as reader:
        shutil.copytree(PROJECT, reader.folder, dirs_exist_ok=True)
        addresses = {"127.0.0.1:7600": reader.server, "127.0.0.1:7601": reader.http}
        for action in actions(readdressed(page, addresses)):
            reader.follow(action)


def test_the_page_runs_the_tests_of_the_project_before_and_after_a_function_has_moved() -> None:
    done = list(actions(PAGE.read_text(encoding="utf-8")))
    launched = [action.text for action in done if isinstance(action, Launch)]
    assert ["payments.py" in text for text in launched] == [False, False, False, True]
    typed = [action.text for action in done if isinstance(action, Type)]
    assert sum("pytest -q tests" in text for text in typed) == 2
