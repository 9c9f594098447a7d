"""Terminal output: results on stdout, progress and errors on stderr.

Must stay true: with `--output json`, stdout holds one JSON value and nothing else; and what others
wrote never drives a terminal. A result that is printed as it is goes unchanged to files and pipes
only.
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from perdure_host.terminal_text import escaped_json, visible

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
    sys.stdout.write(escaped_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print a text on stdout: to a file or a pipe exactly as it is."""
    sys.stdout.write((visible(text) if sys.stdout.isatty() else text) + "\n")
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


def drop_output() -> None:
    """Write nothing more to standard output and error: their reader has gone."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - it is no path of ours
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())


class _Console(Console):
    """Shows what drives a terminal in the texts of others as escapes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Leave it to the command, which ends well: `| head` has read enough."""
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _COLUMNS_WITHOUT_TERMINAL
    return _Console(stderr=stderr, width=width, highlight=False)
