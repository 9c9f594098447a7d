"""The configuration page: it names every environment variable that the product reads."""

import re

from tests.system.processes import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
CODE = ("cli", "core", "gateway", "history_service", "host", "matching_service", "sdk", "worker")
VARIABLE = re.compile(r'"((?:PERDURE|DURABLE_EXECUTION)_[A-Z_]+|AWS_(?:DEFAULT_)?REGION)"')


def variables_in_code() -> set[str]:
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    return {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}


def test_the_page_names_every_environment_variable() -> None:
    table = PAGE.partition("## Environment variables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z].*?) \|", table, flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == variables_in_code()
