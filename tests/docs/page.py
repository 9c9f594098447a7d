"""Pages of the documentation as sequences of actions: files, commands, terminals.

Must stay true: blocks run as they stand, but for the lines that install, which are named here.
A program is written to the file that the paragraph before it names last, or else executed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

# What a reader does once, and what the machine of these tests has done already.
SKIPPED: Final = ("make ", "python3 -m venv ", "pip install ")
# What runs until it is interrupted, and so takes a terminal of its own. It may set variables.
ENDLESS: Final = re.compile(r"([A-Z_]+=\S+ )*perdure ((dev|server|worker) [^&]*|server)")

_PIECE: Final = re.compile(
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$|(?P<interrupt>Ctrl-C)", re.DOTALL | re.MULTILINE
)
_FILE: Final = re.compile(r"`(\w+\.py)`")


@dataclass(frozen=True)
class Write:
    """A program that the text before it calls a file."""

    name: str
    text: str


@dataclass(frozen=True)
class Execute:
    """A program without a name."""

    text: str


@dataclass(frozen=True)
class Type:
    """Commands that end."""

    text: str


@dataclass(frozen=True)
class Launch:
    """A command that does not."""

    text: str


@dataclass(frozen=True)
class Expect:
    """The output of the commands before it; `…` stands for anything."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Ctrl-C, in all terminals where something runs on."""


Action = Write | Execute | Type | Launch | Expect | Interrupt


def actions(page: str) -> Iterator[Action]:
    """Return the actions of a page, in order."""
    end = 0
    for piece in _PIECE.finditer(page):
        paragraph = page[end : piece.start()].rstrip().rpartition("\n\n")[2]
        end = piece.end()
        text = piece["text"]
        match piece["language"]:
            case None:
                yield Interrupt()
            case "python":
                names = _FILE.findall(paragraph)
                yield Write(names[-1], text) if names else Execute(text)
            case "sh":
                yield from _commands(text)
            case "text":
                yield Expect(text)
            case other:
                raise ValueError(f"nobody runs a block of {other!r}")


def readdressed(page: str, addresses: Mapping[str, str]) -> str:
    """Return the page with real addresses in place of its own; it must contain each of these."""
    for written, real in addresses.items():
        assert written in page, f"the page does not write {written}"
        page = page.replace(written, real)
    return page


def matches(expected: str, printed: str) -> bool:
    """Return whether a text is as expected, up to white space."""
    parts = [re.escape(part) for part in _squeezed(expected).split("…")]
    return re.fullmatch(".*?".join(parts), _squeezed(printed), re.DOTALL) is not None


def _commands(block: str) -> Iterator[Action]:
    lines: list[str] = []
    for line in block.splitlines():
        command = line.partition("  #")[0].strip()
        if not command or command.startswith(SKIPPED):
            continue
        if ENDLESS.fullmatch(command):
            if lines:
                yield Type("\n".join(lines))
            lines = []
            yield Launch(command)
        else:
            lines.append(line)
    if lines:
        yield Type("\n".join(lines))


def _squeezed(text: str) -> str:
    return " ".join(text.split())
