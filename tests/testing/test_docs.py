"""The page about testing: its code is a test module, and it passes."""

import re

import pytest

from tests.system.processes import ROOT

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "testing.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLUGIN = ("-p", "no:perdure", "-p", "perdure.testing.pytest_plugin", "-p", "no:cacheprovider")


def test_every_block_of_the_page_runs(pytester: pytest.Pytester) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert {language for language, _ in blocks} == {"python", "console"}
    source = "\n\n".join(text for language, text in blocks if language == "python")
    pytester.makepyfile(test_page=source)
    result = pytester.runpytest_inprocess(*PLUGIN, "--strict-markers")
    result.assert_outcomes(passed=source.count("\ndef test_"))
