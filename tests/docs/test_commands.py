"""Commands of `perdure` that pages show have the options that they are shown with."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from perdure_cli.main import app
from tests.system.processes import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What follows `perdure` up to the end of its command, and all in backticks on one line.
IN_BLOCK = re.compile(r"\bperdure ([a-z][^|&;)\n]*)")
IN_TEXT = re.compile(r"`perdure ([a-z][^`\n]*)`")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")


def commands_on(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in BLOCK.findall(text):
        yield from IN_BLOCK.findall(block.replace("#", "\n"))
    yield from IN_TEXT.findall(text)


def command_of(line: str) -> tuple[Any, str]:
    command, rest = typer.main.get_command(app), line
    while children := getattr(command, "commands", None):
        name, _, rest = rest.partition(" ")
        if name not in children:
            break
        command = children[name]
    return command, rest


def options_of(command: Any) -> set[str]:
    own = {name for parameter in command.params for name in getattr(parameter, "opts", [])}
    children: dict[str, Any] = getattr(command, "commands", None) or {}
    for child in children.values():
        own |= options_of(child)
    return own | {"--help", "--version", "--install-completion"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_a_page_shows_exist(page: Path) -> None:
    unknown: list[str] = []
    for line in commands_on(page):
        command, rest = command_of(line)
        unknown += [
            f"perdure {line}: {option}"
            for option in OPTION.findall(re.sub(r"'[^']*'", "", rest))
            if option not in options_of(command)
        ]
    assert unknown == []


def test_the_pages_show_commands() -> None:
    assert sum(1 for page in PAGES for _ in commands_on(page)) > 60
