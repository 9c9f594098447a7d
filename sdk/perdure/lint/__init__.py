"""The check behind `perdure check`: finds in handlers what a replay would not repeat.

It reads source, and never imports or runs what it checks. It follows calls within a module, not
beyond: what another module does is found when that module is checked, if it says that it is
durable, by a decorator or by a parameter annotated `DurableContext`.

    from perdure.lint import check_file
"""

import io
import tokenize
from collections.abc import Collection
from pathlib import Path

from perdure.lint.analyzer import analyze_module
from perdure.lint.files import find_files
from perdure.lint.findings import Finding, UnreadableError, UnreadableFileError
from perdure.lint.rules import TITLES, Rule
from perdure.lint.scopes import Module, read_module
from perdure.lint.suppressions import read_suppressions, suppress

__all__ = [
    "TITLES",
    "Finding",
    "Rule",
    "UnreadableError",
    "UnreadableFileError",
    "check_file",
    "check_source",
    "find_files",
]


def check_file(path: Path, *, ignored: Collection[Rule] = ()) -> list[Finding]:
    """Return what is wrong with a file; raise `UnreadableFileError` if it is no Python."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(str(path), None, error.strerror or str(error)) from None
    return check_source(source, str(path), ignored=ignored)


def check_source(
    source: str | bytes, path: str, *, ignored: Collection[Rule] = ()
) -> list[Finding]:
    """Return what is wrong with a source, which `path` names in findings."""
    module = _read(source, path)
    try:
        found = analyze_module(module)
    except RecursionError:
        raise UnreadableFileError(path, None, "nested too deeply to be followed") from None
    left = suppress(path, found, read_suppressions(module.text), ignored)
    return [each for each in left if each.rule not in ignored]


def _read(source: str | bytes, path: str) -> Module:
    try:
        return read_module(path, source if isinstance(source, str) else _decode(source))
    except SyntaxError as error:
        raise UnreadableFileError(path, error.lineno, error.msg) from None
    except (RecursionError, UnicodeDecodeError, ValueError) as error:
        raise UnreadableFileError(path, None, str(error)) from None


def _decode(source: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return io.IncrementalNewlineDecoder(None, translate=True).decode(source.decode(encoding))
