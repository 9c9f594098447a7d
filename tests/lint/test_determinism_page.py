"""The page about determinism: the check agrees with every example on it."""

import re
from pathlib import Path

import pytest

from perdure.lint import TITLES, Rule, check_source

PAGE = Path(__file__).parents[2] / "docs" / "determinism.md"
IMPORTS = "from perdure import durable_execution, durable_step\n"
SECTION = re.compile(
    r"^### (PRD\d+): (.+?)\n.*?^Bad:\n\n```python\n(.*?)```\n\nGood:\n\n```python\n(.*?)```\n",
    re.MULTILINE | re.DOTALL,
)
SECTIONS = SECTION.findall(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_every_rule_once_under_its_title() -> None:
    assert [(rule, title) for rule, title, _, _ in SECTIONS] == [*TITLES.items()]


@pytest.mark.parametrize(("rule", "title", "bad", "good"), SECTIONS)
def test_the_bad_example_breaks_its_rule_and_no_other(
    rule: Rule, title: str, bad: str, good: str
) -> None:
    assert {each.rule for each in check_source(IMPORTS + bad, "bad.py")} == {rule}


@pytest.mark.parametrize(("rule", "title", "bad", "good"), SECTIONS)
def test_the_good_example_breaks_none(rule: Rule, title: str, bad: str, good: str) -> None:
    assert check_source(IMPORTS + good, "good.py") == []


def test_the_examples_that_people_copy_are_clean() -> None:
    files = sorted((PAGE.parents[1] / "examples").glob("**/*.py"))
    assert files != []
    found = [each for file in files for each in check_source(file.read_bytes(), str(file))]
    assert found == []
