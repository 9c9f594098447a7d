"""Find the functions to serve: in importable modules and in `.py` files.

Whatever goes wrong becomes one `ModuleLoadError` whose message tells a person where to look.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from perdure.execution import DurableFunction
from perdure.worker_api import PlainFunction, RegisteredFunction

# The kinds of functions that user code makes.
_KINDS: Final = (DurableFunction, PlainFunction)


class ModuleLoadError(Exception):
    """A module cannot be served; the message says which and why."""


def load_functions(modules: Sequence[str]) -> list[RegisteredFunction]:
    """Return every function, durable or plain, that is bound at the top of `modules`.

    A module is an importable name, looked up in the current directory too, or the path of a `.py`
    file. A function imported from elsewhere counts; the same function found twice counts once.
    """
    found: dict[str, tuple[RegisteredFunction, str]] = {}
    for module in modules:
        functions = _functions_in(_load(module))
        if not functions:
            raise ModuleLoadError(
                f"{module}: no function in it is decorated with durable_execution or plain_function"
            )
        for function in functions:
            name = function.settings.name
            other, origin = found.setdefault(name, (function, module))
            if other is not function:
                raise ModuleLoadError(
                    f"{module}: a function named {name!r} comes from {origin} already; "
                    "give one of them another name with name=… in its decorator"
                )
    return [function for function, _ in found.values()]


def _functions_in(module: ModuleType) -> list[RegisteredFunction]:
    values = list(vars(module).values())
    return [value for value in values if isinstance(value, _KINDS)]


def _load(module: str) -> ModuleType:
    file, colon, name = module.partition(".py:")
    if colon:
        raise ModuleLoadError(
            f"{module}: write {file}.py, without {':' + name!r}; every function in a file is served"
        )
    try:
        return _load_file(Path(module)) if module.endswith(".py") else _load_name(module)
    except ModuleLoadError:
        raise
    except SystemExit as error:
        raise ModuleLoadError(f"{module}: it exits when imported, with {error.code!r}") from error
    except Exception as error:
        raise ModuleLoadError(f"{module}: {_describe(error)}") from error


def _load_name(name: str) -> ModuleType:
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ModuleLoadError(
            f"{name}: no module named {error.name!r}, neither installed nor in {Path.cwd()}"
        ) from error


def _load_file(path: Path) -> ModuleType:
    """Load a file as `import` in its own folder would, so that errors and pickles name it alike."""
    resolved = path.resolve()
    if not resolved.is_file():
        raise ModuleLoadError(f"{path}: no such file")
    loaded = sys.modules.get(resolved.stem)
    if loaded is not None:
        return _same_file(loaded, resolved)
    spec = importlib.util.spec_from_file_location(resolved.stem, resolved)
    assert spec is not None
    assert spec.loader is not None
    _put_on_path(resolved.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[resolved.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[resolved.stem]
        raise
    return module


def _same_file(loaded: ModuleType, path: Path) -> ModuleType:
    origin = getattr(loaded, "__file__", None)
    if origin is None or Path(origin).resolve() != path:
        raise ModuleLoadError(
            f"{path}: the name {path.stem!r} belongs to {origin or 'a module of Python'} already; "
            "rename the file"
        )
    return loaded


def _put_on_path(folder: Path) -> None:
    # At the front, as the folder of a script is: what lies next to the user's code comes first.
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _describe(error: Exception) -> str:
    """Return the type, the message and the line of the user's code where it happened."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError):
        # Its message names file and line itself.
        return text
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    return f"{text} ({ours[-1].filename}, line {ours[-1].lineno})" if ours else text
