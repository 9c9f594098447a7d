"""Findings of the check, and its errors for unreadable files."""

from dataclasses import dataclass, field

from perdure.lint.rules import Rule


@dataclass(frozen=True, order=True)
class Finding:
    """A broken rule at a position; lines and columns count from 1.

    `chain` names the calls that lead there, from a handler, step or child to the function that
    contains the position. `line_end` is the last line of the code, where a suppression may also be;
    `source` is the first line.
    """

    path: str
    line: int
    column: int
    rule: Rule
    message: str
    chain: tuple[str, ...]
    line_end: int
    source: str = field(compare=False)


class UnreadableError(Exception):
    """A file or module cannot be read as Python; the message names it."""


class UnreadableFileError(UnreadableError):
    """A file cannot be read, or is not Python."""

    def __init__(self, path: str, line: int | None, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line
