"""Terminal output: results on stdout, progress and errors on stderr.

Must stay true: with `--output json`, stdout holds one JSON value and nothing else.
"""

import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

# Output to a file or a pipe is not wrapped to the width of a terminal that does not exist.
_COLUMNS_WITHOUT_TERMINAL: Final = 240


def stdout_console() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """Return the console for progress and errors."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print a text on stdout exactly as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_error(message: str, hint: str | None = None) -> None:
    """Print what is wrong on stderr, and a hint about what to do."""
    console = stderr_console()
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text(hint, style="dim"), soft_wrap=True)


def print_status(message: str | Text) -> None:
    """Print progress on stderr."""
    console = stderr_console()
    console.print(message if isinstance(message, Text) else Text(message), soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _COLUMNS_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False)
