"""Values of a template: YAML with CloudFormation's tags, and the references in it resolved.

Ref, Sub and GetAtt are understood for parameters with defaults, pseudo parameters and functions of
the template: a Ref is the function's name, `.Arn` its ARN, and both name it in a chained invoke.
Whatever else a value refers to exists in an account only, so it is `Unresolved`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import yaml

from perdure_core.identity import NAMESPACE_DEFAULT
from perdure_host.errors import SettingsError
from perdure_host.lambda_json.names import function_arn

ACCOUNT_ID: Final = "000000000000"

_BRACES: Final = re.compile(r"\$\{(!?)([^}]*)\}")


class Unresolved(Exception):
    """A value refers to something that only a deployment would know; the message names it."""


class Absent(Exception):
    """A value is AWS::NoValue: its key counts as absent."""


class _Loader(yaml.SafeLoader):
    """Reads `!Ref x` as `{"Ref": x}` and every other `!Tag x` as `{"Fn::Tag": x}`."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, object]:
    value: object
    match node:
        case yaml.ScalarNode():
            value = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
        case _:
            raise yaml.YAMLError(f"!{suffix} has no value")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


# Its stubs leave out of what kind the second argument is.
_Loader.add_multi_constructor("!", _tagged)  # pyright: ignore[reportUnknownMemberType]


def read_yaml(path: Path) -> object:
    """Return what a template holds. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
        return cast("object", yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error


class References:
    """Values that the references of one template resolve to."""

    def __init__(self, parameters: Mapping[str, str], functions: Mapping[str, str]) -> None:
        """`parameters` are defaults and pseudo parameters, `functions` names by logical ids."""
        self._parameters = parameters
        self._functions = functions

    def resolved(self, value: object) -> object:
        """Return the value with its references resolved, in depth. Raises Unresolved, Absent."""
        if isinstance(value, list):
            return [self.resolved(item) for item in cast("list[object]", value)]
        if not isinstance(value, dict):
            return value
        entries = cast("dict[object, object]", value)
        if len(entries) == 1:
            ((key, argument),) = entries.items()
            if key == "Ref":
                return self._ref(argument)
            if isinstance(key, str) and key.startswith("Fn::"):
                return self._function(key, argument)
        resolved: dict[object, object] = {}
        for key, item in entries.items():
            try:
                resolved[key] = self.resolved(item)
            except Absent:
                continue
        return resolved

    def _function(self, key: str, argument: object) -> object:
        parts = cast("list[object]", argument) if isinstance(argument, list) else [argument]
        match key, parts:
            case "Fn::Sub", [str(text)]:
                return self._substituted(text, {})
            case "Fn::Sub", [str(text), names]:
                own = self.resolved(names)
                if isinstance(own, dict):
                    values = cast("dict[str, object]", own)
                    return self._substituted(text, {name: str(values[name]) for name in values})
            case "Fn::GetAtt", [str(resource), str(attribute)]:
                return self._attribute(resource, attribute)
            case "Fn::GetAtt", [str(whole)] if "." in whole:
                return self._attribute(*whole.split(".", 1))
            case _:
                pass
        raise Unresolved(f"{key}, which is not understood here")

    def _ref(self, name: object) -> str:
        if name == "AWS::NoValue":
            raise Absent
        if isinstance(name, str):
            found = self._parameters.get(name) or self._functions.get(name)
            if found is not None:
                return found
            if name in self._parameters:
                return ""
        raise Unresolved(f"{name}, which is neither a parameter with a default nor a function")

    def _attribute(self, resource: str, attribute: str) -> str:
        function = self._functions.get(resource)
        if function is None:
            raise Unresolved(f"{resource}.{attribute}, and {resource} is no function")
        if attribute != "Arn":
            raise Unresolved(f"{resource}.{attribute}; of functions only Arn is known")
        return function_arn(NAMESPACE_DEFAULT, function)

    def _substituted(self, text: str, own: Mapping[str, str]) -> str:
        def replaced(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return "${" + name + "}"
            if name in own:
                return own[name]
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return self._ref(name)

        return _BRACES.sub(replaced, text)
