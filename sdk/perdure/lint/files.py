"""Files to check, found by path or by module name.

Modules are searched on the path without the import system, which would run their packages.
"""

import sys
from pathlib import Path
from typing import Final

from perdure.lint.findings import UnreadableError

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def find_files(target: str) -> list[Path]:
    """Return the files of a path or module; those of a folder are sorted by name.

    Raises `UnreadableError` when it does not exist.
    """
    path = Path(target)
    if path.is_dir():
        return _files_below(path)
    if path.is_file():
        return [path]
    found = _find_module(target) if all(part.isidentifier() for part in target.split(".")) else []
    if not found:
        raise UnreadableError(f"{target}: no such file, folder or module")
    return found


def _find_module(name: str) -> list[Path]:
    parts = name.split(".")
    for folder in (Path(), *map(Path, sys.path)):
        path = folder.joinpath(*parts)
        if path.with_name(f"{parts[-1]}.py").is_file():
            return [path.with_name(f"{parts[-1]}.py")]
        if (path / "__init__.py").is_file():
            return _files_below(path)
    return []


def _files_below(folder: Path) -> list[Path]:
    files = (
        each
        for each in folder.rglob("*.py")
        if not any(
            part in _SKIPPED or part.startswith(".") for part in each.relative_to(folder).parts
        )
    )
    return sorted(files)
