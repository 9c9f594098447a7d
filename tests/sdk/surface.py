"""The public surface of a module, in a form that can be recorded and compared."""

import dataclasses
import enum
import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any

Surface = dict[str, Any]


def surface(module: ModuleType, names: Iterable[str]) -> Surface:
    """Return descriptions of the public `names` of `module`; missing names are left out."""
    return {name: described(getattr(module, name)) for name in names if hasattr(module, name)}


def described(thing: Any) -> Any:
    """Return a plain description of a class or function."""
    if not inspect.isclass(thing):
        return parameters(thing)
    if issubclass(thing, enum.Enum):
        return {"values": {name: member.value for name, member in thing.__members__.items()}}
    return {
        "parameters": parameters(thing),
        "frozen": getattr(getattr(thing, "__dataclass_params__", None), "frozen", None),
        "methods": {
            name: parameters(getattr(thing, name))
            for name in sorted(dir(thing))
            if not name.startswith("_") and callable(getattr(thing, name))
            if name not in dir(BaseException) and name not in dir(dict)
        },
        "properties": sorted(
            name
            for name, value in inspect.getmembers(thing)
            if isinstance(value, property) and not name.startswith("_")
        ),
    }


def parameters(thing: Any) -> list[str]:
    """Return the parameters but `self`, each as `name`, `name=default`, `*name` or `**name`."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ["?"]
    fields = {field.name: field for field in _fields(thing)}
    found: list[str] = []
    keyword_only = False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            found.append("*")
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
        text = stars.get(parameter.kind.name, "") + name
        if parameter.default is not parameter.empty:
            text += f"={_default_text(parameter.default, fields.get(name))}"
        if name != "self":
            found.append(text)
    return found


def _fields(thing: Any) -> tuple["dataclasses.Field[Any]", ...]:
    return dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()


def _default_text(default: Any, field: "dataclasses.Field[Any] | None") -> str:
    if field is not None and field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if isinstance(default, enum.Enum):
        return f"{type(default).__name__}.{default.name}"
    if inspect.isfunction(default):
        return "<function>"
    text = repr(default)
    return f"<{type(default).__name__}>" if " at 0x" in text else text
