"""Where output goes: answers on stdout, progress and complaints on stderr.

Must stay true: with `--output json`, stdout holds one JSON value and nothing else.
"""

import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

# What is written to a file or a pipe is not folded to the width of a terminal that is not there.
_COLUMNS_WITHOUT_TERMINAL: Final = 240


def answers() -> Console:
    """Return the console for what was asked for."""
    return _console(stderr=False)


def remarks() -> Console:
    """Return the console for what happens meanwhile, and for complaints."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """Print one JSON value for a program."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print a text exactly as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(message: str, hint: str | None = None) -> None:
    """Say what is wrong, and what could be done about it."""
    console = remarks()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text(hint, style="dim"), soft_wrap=True)


def remark(message: str | Text) -> None:
    """Say what happens meanwhile."""
    console = remarks()
    console.print(message if isinstance(message, Text) else Text(message), soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _COLUMNS_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False)
