"""Suppressions: each counts for one rule on one line, and is reported when unused."""

import pytest

from perdure.lint import Rule, check_source
from tests.lint.snippets import IMPORTS, check, handler, rules


@pytest.mark.parametrize(
    "lines",
    [
        ["hash(1)  # perdure: ignore[PRD102]"],
        ["hash(1)  # it is a number  # perdure:ignore[ PRD102 ]"],
        ["# perdure: ignore[PRD102]", "hash(1)"],
        ["hash(", "    1", ")  # perdure: ignore[PRD102]"],
        ["hash(open('x'))  # perdure: ignore[PRD102, PRD104]"],
    ],
)
def test_what_is_suppressed_is_not_reported(lines: list[str]) -> None:
    assert rules(handler(*lines)) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hash(1)  # perdure: ignore[PRD101]", ["PRD102", "PRD001"]),
        ("hash(1)  # perdure: ignore[PRD102, PRD101]", ["PRD001"]),
        ("hash(1)  # perdure: ignore", ["PRD102", "PRD001"]),
        ("hash(1)  # perdure: ignore[PRD999]", ["PRD102", "PRD001"]),
        ("return '# perdure: ignore[PRD102]'", []),
    ],
)
def test_a_suppression_of_something_else_suppresses_nothing(line: str, expected: list[str]) -> None:
    assert rules(handler(line)) == expected


def test_a_suppression_that_is_of_no_use_stands_where_it_is_written() -> None:
    (finding,) = check(handler("x = 1  # perdure: ignore[PRD101]"))
    assert (finding.line, finding.column, finding.rule) == (5, 12, Rule.UNUSED_SUPPRESSION)
    assert "PRD101 finds nothing here" in finding.message


def test_an_ignored_rule_is_left_out_and_its_suppressions_are_no_finding() -> None:
    source = handler("hash(1)  # perdure: ignore[PRD102]", "hash(2)", "open('x')")
    found = check_source(IMPORTS + source, "app.py", ignored=[Rule.CHANCE])
    assert [each.rule for each in found] == [Rule.IO]
