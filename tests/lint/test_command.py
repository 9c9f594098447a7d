"""The command `perdure check`: its output for people and for programs, and its exit status."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from perdure_cli.main import app
from tests.lint.snippets import IMPORTS, handler

BAD = IMPORTS + handler("return key()", before="def key():\n    return hash(1)")
CLEAN = IMPORTS + handler("return event")


def perdure_check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.py"
    file.write_text(BAD, encoding="utf-8")
    return file


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    file = tmp_path / "clean.py"
    file.write_text(CLEAN, encoding="utf-8")
    return file


def test_people_see_the_place_the_rule_the_way_and_the_line(bad: Path) -> None:
    result = perdure_check(str(bad))
    head, hint, source, marker, *_, summary = result.stdout.splitlines()
    assert head.startswith(f"{bad}:3:12: PRD102 `hash` differs on every replay")
    assert hint == "    reached by order → key"
    assert source == "    3 │     return hash(1)"
    assert marker == " " * source.index("hash") + "^"
    assert (result.exit_code, summary) == (1, "1 finding")


def test_programs_get_the_same_as_json(bad: Path) -> None:
    result = perdure_check(str(bad), "--output", "json")
    (found,) = json.loads(result.stdout)
    message = found.pop("message")
    assert found == {
        "path": str(bad),
        "line": 3,
        "column": 12,
        "rule": "PRD102",
        "chain": ["order", "key"],
    }
    assert message.startswith("`hash` differs")
    assert result.exit_code == 1


def test_nothing_found_is_status_zero(clean: Path) -> None:
    assert perdure_check(str(clean)).exit_code == 0
    assert json.loads(perdure_check(str(clean), "-o", "json").stdout) == []


def test_an_ignored_rule_does_not_count(bad: Path) -> None:
    assert perdure_check(str(bad), "--ignore", "PRD101", "--ignore", "PRD102").exit_code == 0


def test_a_file_named_twice_is_checked_once(bad: Path) -> None:
    assert "1 finding" in perdure_check(str(bad), str(bad), str(bad.parent)).stdout


def test_what_cannot_be_read_is_status_two_and_the_rest_is_checked(bad: Path) -> None:
    broken = bad.parent / "broken.py"
    broken.write_text("def (:\n", encoding="utf-8")
    result = perdure_check(str(bad.parent), "no.such.module")
    assert result.exit_code == 2
    assert "1 finding" in result.stdout
    assert f"{broken}:1: " in result.stderr
    assert "no.such.module: no such file, folder or module" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--ignore", "PRD999", "x.py"]])
def test_wrong_usage_is_status_two(arguments: list[str]) -> None:
    assert perdure_check(*arguments).exit_code == 2
