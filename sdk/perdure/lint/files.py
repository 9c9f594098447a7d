"""From what people name to files: paths as they are, modules by where they would be imported from.

Modules are looked up on the path by hand: the import system would run their packages.
"""

import sys
from pathlib import Path
from typing import Final

from perdure.lint.findings import UnreadableError

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def find_files(target: str) -> list[Path]:
    """Return the files of a file, a folder, or a module; a folder's in the order of their names.

    Raises `UnreadableError` when there is no such thing.
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
        place = folder.joinpath(*parts)
        if place.with_name(f"{parts[-1]}.py").is_file():
            return [place.with_name(f"{parts[-1]}.py")]
        if (place / "__init__.py").is_file():
            return _files_below(place)
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
