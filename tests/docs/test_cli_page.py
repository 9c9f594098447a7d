"""The command line's page: every command, option, default and exit status, and no others."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import typer

from perdure_cli.exit_codes import ExitCode
from perdure_cli.main import app
from tests.system.processes import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
# Defaults which a command makes up when it runs.
COMPUTED = {
    "--db": "sqlite:///perdure.db",
    "--node-name": "host name and gRPC port",
    "--server": "127.0.0.1:7600",
}


class Option(NamedTuple):
    names: tuple[str, ...]
    metavar: str
    default: str


def sections() -> dict[str, str]:
    heads = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(heads[::2], heads[1::2], strict=True))


def listed(section: str) -> Iterator[Option]:
    for cell, default in re.findall(r"^\| (`-.+?`) \| (.*?) ?\| ", section, flags=re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", cell)
        name, _, metavar = first.replace("\\|", "|").partition(" ")
        yield Option((name, *others), metavar, default.strip("`"))


def options(page_section: str) -> set[Option]:
    found = set(listed(page_section))
    for shared in ("connection options", "output option"):
        if f"the {shared}" in page_section:
            found |= set(listed(sections()[shared.capitalize()]))
    return found


def real_commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from real_commands(child, f"{path} {name}")


COMMANDS = dict(real_commands(typer.main.get_command(app), "perdure"))


def real_options(command: Any) -> Iterator[Option]:
    for parameter in command.params:
        if parameter.param_type_name == "option":
            names = tuple(parameter.opts)
            default = COMPUTED.get(names[0], str(parameter.default or ""))
            yield Option(names, parameter.metavar or "", default)


def test_the_page_has_a_section_for_every_command() -> None:
    assert [head for head in sections() if head.startswith("perdure ")] == list(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_page_lists_the_options_of_a_command(path: str) -> None:
    assert sorted(options(sections()[path])) == sorted(real_options(COMMANDS[path]))


@pytest.mark.parametrize("path", COMMANDS)
def test_the_page_shows_how_a_command_is_called(path: str) -> None:
    arguments = [
        parameter.metavar
        for parameter in COMMANDS[path].params
        if parameter.param_type_name == "argument"
    ]
    assert f"`{' '.join([path, *arguments])}`" in sections()[path]


def test_the_page_lists_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \|", sections()["Exit status"], flags=re.MULTILINE)
    assert [int(row) for row in rows] == [code.value for code in ExitCode]
