"""Conditions that may differ between the first run and a replay."""

import ast
from collections.abc import Iterator
from typing import Final

from perdure.lint.call_frames import CallFrame
from perdure.lint.name_resolver import NameResolver
from perdure.lint.nondeterminism import ENVIRONMENT_OBJECTS, rule_broken_by
from perdure.lint.operations import Reader
from perdure.lint.rules import Rule
from perdure.lint.scopes import Assigned, Binding, Scope

_DIFFERS: Final = {
    Rule.CLOCK: "comes from the clock",
    Rule.CHANCE: "comes from chance",
    Rule.ENVIRONMENT: "comes from the environment of one worker",
}


class Conditions:
    """Finds such conditions in one module."""

    def __init__(self, resolver: NameResolver, reader: Reader) -> None:
        self._resolver = resolver
        self._reader = reader

    def cause(self, test: ast.expr, frame: CallFrame) -> str | None:
        """Return why a condition may differ on replay, because of a variable; None if it does not.

        A nondeterministic call in the condition itself breaks a rule of its own, at the same place.
        """
        for node in _evaluated(test):
            match node:
                case ast.Call(func=ast.Attribute(value=receiver, attr="is_replaying")):
                    if self._reader.is_context(receiver, frame.scope, frame.contexts):
                        return "`is_replaying()` differs between the first run and its replay"
                case ast.Name(id=name, ctx=ast.Load()):
                    if (why := self._why(name, frame.scope, frame)) is not None:
                        return f"`{name}` {why}"
                case _:
                    pass
        return None

    def _why(self, name: str, scope: Scope, frame: CallFrame) -> str | None:
        waiting, seen = [(name, scope)], set[tuple[Scope, str]]()
        while waiting:
            variable, variable_scope = waiting.pop()
            found = variable_scope.find(variable)
            if found is None or (found[0], variable) in seen:
                continue
            owner, bindings = found
            seen.add((owner, variable))
            for value in self._values(bindings, owner, frame):
                for node in _evaluated(value):
                    rule = self._rule(node, owner)
                    if rule is not None and rule in _DIFFERS:
                        return _DIFFERS[rule]
                    if isinstance(node, ast.Name):
                        waiting.append((node.id, owner))
        return None

    def _values(self, bindings: list[Binding], owner: Scope, frame: CallFrame) -> list[ast.expr]:
        values = [each.value for each in bindings if isinstance(each, Assigned) and each.value]
        return [each for each in values if not self._is_recorded(each, owner, frame)]

    def _rule(self, node: ast.AST, scope: Scope) -> Rule | None:
        match node:
            case ast.Call(func=function) as call:
                path_of = self._resolver.path_of
                origin = path_of(function, scope)
                return (
                    rule_broken_by(origin, call, lambda each: path_of(each, scope))
                    if origin
                    else None
                )
            case ast.Attribute() | ast.Name():
                found = self._resolver.path_of(node, scope) in ENVIRONMENT_OBJECTS
                return Rule.ENVIRONMENT if found else None
            case _:
                return None

    def _is_recorded(self, value: ast.expr, scope: Scope, frame: CallFrame) -> bool:
        inner = value.value if isinstance(value, ast.Await) else value
        return isinstance(inner, ast.Call) and (
            self._reader.operation(inner, scope, frame.contexts) is not None
        )


def _evaluated(expression: ast.expr) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [expression]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))
