"""What the check finds, and what keeps it from looking."""

from dataclasses import dataclass, field

from perdure.lint.rules import Rule


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong at a place; lines and columns count from 1.

    `chain` names the functions that lead there, from a handler, step or child to the one that holds
    the place. `line_end` is the last line of the code meant, where a suppression may also stand;
    `source` is the first.
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
    """A file, or a module, that cannot be read as Python; the message says where."""


class UnreadableFileError(UnreadableError):
    """A file that cannot be read, or is no Python."""

    def __init__(self, path: str, line: int | None, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line
