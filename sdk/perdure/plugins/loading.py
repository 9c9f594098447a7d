"""Plugin factories of a function: those passed to its decorator, then those of the environment.

DURABLE_EXECUTION_PLUGINS holds names of entry points, separated by commas. Anything invalid is
refused when the function is decorated, so that telemetry is not missing unnoticed. Rules
are those of the AWS Lambda durable execution SDK for Python 3.0 (plugin_discovery), but for the
group of the entry points: its plugins derive from a class of its own.
"""

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from perdure.exceptions import PluginLoadError
from perdure.plugins.hooks import DurableInstrumentationPluginFactory

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "perdure.plugins"
VARIABLE: Final = "DURABLE_EXECUTION_PLUGINS"

# Packages for the AWS SDK register here; their plugins would be refused in every invocation.
_GROUP_OF_AWS: Final = "aws_durable_execution.plugins"

_MARKER: Final = "__durable_registration_api__"
_RESULT_METHOD: Final = "on_registration_result"

Factories = tuple[DurableInstrumentationPluginFactory, ...]

_log = logging.getLogger("perdure")


def load_plugins(
    arguments: Sequence[DurableInstrumentationPluginFactory], environment: Mapping[str, str]
) -> Factories:
    """Return the factories in `arguments`, then those that `environment` names.

    Raises `PluginLoadError`; `on_registration_result` of the factories is called either way.
    """
    candidates: list[Any] = list(arguments)
    try:
        for index, factory in enumerate(arguments):
            _check_factory(factory, f"plugins[{index}]")
        for name in _names(environment):
            factory = _loaded(name)
            if any(factory is other for other in candidates):
                _log.warning("Plugin %r of %s is registered already; skipped.", name, VARIABLE)
                continue
            candidates.append(factory)
            _check_factory(factory, f"entry point {name!r}")
        _check_groups(candidates)
    except Exception:
        _notify(candidates, registered=False)
        raise
    _notify(candidates, registered=True)
    return tuple(candidates)


def _loaded(name: str) -> Any:
    """Import the factory of a name. Raises `PluginLoadError` for any exception of the import."""
    found = _entry_point(name)
    try:
        return found.load()
    except Exception as error:
        raise PluginLoadError(
            f"Cannot load plugin {name!r} from {found.value!r} ({_package(found)}): {error!r}"
        ) from error


def _names(environment: Mapping[str, str]) -> list[str]:
    text = environment.get(VARIABLE, "")
    if not text.strip():
        return []
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise PluginLoadError(f"{VARIABLE} must be names separated by commas, got {text!r}")
    for name in names:
        if names.count(name) > 1:
            raise PluginLoadError(f"{VARIABLE} names {name!r} more than once.")
    return names


def _entry_point(name: str) -> "EntryPoint":
    """Return the one entry point of that name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - not needed without names

    known = entry_points(group=GROUP)
    found = [each for each in known if each.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        packages = ", ".join(sorted(_package(each) for each in found))
        raise PluginLoadError(
            f"{len(found)} installed packages provide the plugin {name!r} (named in {VARIABLE}):"
            f" {packages}. Uninstall all but one."
        )
    foreign = entry_points(group=_GROUP_OF_AWS, name=name)
    hint = (
        f" {_package(next(iter(foreign)))} provides it for the AWS SDK, whose plugins derive from"
        " another class and do not run here."
        if foreign
        else ""
    )
    available = ", ".join(sorted({each.name for each in known})) or "none"
    raise PluginLoadError(
        f"No installed package provides the plugin {name!r} (named in {VARIABLE}) in {GROUP!r}."
        f" Available: {available}.{hint}"
    )


def _package(entry_point: "EntryPoint") -> str:
    return "an unknown package" if entry_point.dist is None else entry_point.dist.name


def _check_factory(factory: object, where: str) -> None:
    """Raise `PluginLoadError` unless `factory.create_plugin(info)` can be called."""
    create = getattr(factory, "create_plugin", None)
    if callable(create) and not _wants_an_instance(factory) and _takes_one(create):
        return
    raise PluginLoadError(
        f"{where} must be a plugin factory, an object with a method create_plugin(info); got"
        f" {_described(factory)}. Pass an instance of a factory: not a plugin, nor a class of"
        " plugins, nor a function."
    )


def _wants_an_instance(factory: object) -> bool:
    """Return whether it is a class whose method would take the info as `self`."""
    if not isinstance(factory, type):
        return False
    return inspect.isfunction(inspect.getattr_static(factory, "create_plugin", None))


def _takes_one(create: Any) -> bool:
    try:
        inspect.signature(create).bind(None)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {_name(value)}"
    if inspect.isroutine(value):
        return f"the function {_name(value)}"
    return f"an instance of {_name(type(value))}"


def _name(value: Any) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', '?')}"


def _kind(factory: object) -> type:
    # An instance may claim another class by `__class__`; `type` ignores that.
    kind = type(factory)
    return cast("type[Any]", factory) if issubclass(kind, type) else kind


def _check_groups(factories: Iterable[object]) -> None:
    """Raise `PluginLoadError` when two factories have the same exclusive group."""
    taken: dict[str, type] = {}
    for kind in map(_kind, factories):
        for group in _groups(kind):
            if group in taken:
                raise PluginLoadError(
                    f"{_name(taken[group])} and {_name(kind)} have the same exclusive group"
                    f" {group!r}. Keep one of them in plugins and {VARIABLE}."
                )
            taken[group] = kind


def _groups(kind: type) -> dict[str, None]:
    """Return the exclusive groups of all classes of a factory that have opted in."""
    groups: dict[str, None] = {}
    if _opted_in(kind) is None:
        return groups
    for each in type.mro(kind):
        if not _is_version(_own(each).get(_MARKER)):
            continue
        group: object = getattr(each, "exclusive_group", None)
        if group is None:
            continue
        if not isinstance(group, str) or not group.strip():
            raise PluginLoadError(
                f"{_name(each)}.exclusive_group must be a text that is not blank, or None,"
                f" got {group!r}"
            )
        groups[group] = None
    return groups


def _opted_in(kind: type) -> type | None:
    """Return the nearest class with a marker, if that declares version 1."""
    for each in type.mro(kind):
        if _MARKER in _own(each):
            return each if _is_version(_own(each)[_MARKER]) else None
    return None


def _is_version(marker: object) -> bool:
    return type(marker) is int and marker == 1


def _own(kind: type) -> Mapping[str, Any]:
    """Return the attributes that a class itself declares, bypassing metaclasses of the user."""
    declared: Mapping[str, Any] = type.__dict__["__dict__"].__get__(kind)
    return declared


def _result_method(factory: object, opted_in: type) -> Any:
    """Return `on_registration_result` as the class that opted in sees it, ignoring subclasses."""
    if opted_in is _kind(factory):
        return getattr(factory, _RESULT_METHOD, None)
    for each in type.mro(opted_in):
        if _RESULT_METHOD in _own(each):
            method = _own(each)[_RESULT_METHOD]
            bind = getattr(method, "__get__", None)
            return method if bind is None else bind(factory, _kind(factory))
    return None


def _notify(candidates: Iterable[object], *, registered: bool) -> None:
    """Call `on_registration_result` of each factory once, where it opted in."""
    for factory in {id(factory): factory for factory in candidates}.values():
        try:
            opted_in = _opted_in(_kind(factory))
            method = None if opted_in is None else _result_method(factory, opted_in)
            if callable(method):
                method(registered)
        except Exception:  # noqa: BLE001 - a notification only
            _log.exception("Plugin factory %s.on_registration_result", _name(_kind(factory)))
