"""Rules for every example, since people copy them."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.system.processes import ROOT

EXAMPLES: Final = sorted(
    path
    for path in (ROOT / "examples").glob("*.py")
    if path.stem not in {"demo", "demo_orders", "order_processing"}
)
LINES_MAX: Final = 150


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < LINES_MAX
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"perdure dev examples/{path.name}" in docstring
    assert "perdure invoke" in docstring


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_a_test_and_a_paragraph(path: Path) -> None:
    assert (ROOT / "tests" / "examples" / f"test_{path.name}").exists()
    assert f"(../examples/{path.name})" in (ROOT / "docs" / "examples.md").read_text()


def test_the_check_finds_nothing_in_the_examples() -> None:
    command = [sys.executable, "-m", "perdure_cli", "check", *map(str, EXAMPLES)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
