"""Public module: determinism check of handlers, as run by `perdure check`.

It parses source, and never imports or runs what it checks. It follows calls within a module only:
code of another module is checked with that module, if it is marked as durable by a decorator or by
a parameter annotated `DurableContext`.

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
    """Return the findings in a file; raise `UnreadableFileError` if it is not Python."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(str(path), None, error.strerror or str(error)) from None
    return check_source(source, str(path), ignored=ignored)


def check_source(
    source: str | bytes, path: str, *, ignored: Collection[Rule] = ()
) -> list[Finding]:
    """Return the findings in a source; `path` is its name in findings."""
    module = _read(source, path)
    try:
        found = analyze_module(module)
    except RecursionError:
        raise UnreadableFileError(path, None, "nested too deeply") from None
    remaining = suppress(path, found, read_suppressions(module.text), ignored)
    return [each for each in remaining if each.rule not in ignored]


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
