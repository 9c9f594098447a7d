"""Mutations of variables outside of the code that changes them.

A step whose outcome is recorded is not run again, and neither is a child: their changes of
variables around them are missing after a replay. Changes of globals by handler code are repeated on
every replay, and visible to other executions.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perdure.lint.call_frames import CallFrame
from perdure.lint.name_resolver import NameResolver
from perdure.lint.nondeterminism import ENVIRONMENT_OBJECTS
from perdure.lint.operations import Reader
from perdure.lint.rules import Rule
from perdure.lint.scopes import Assigned, Binding, Parameter, Scope

_MUTATING_METHODS: Final = frozenset(
    {
        *("append", "extend", "insert", "add", "update", "remove", "discard", "pop", "popitem"),
        *("clear", "setdefault", "sort", "reverse", "appendleft", "extendleft", "popleft"),
    }
)
_CONTAINERS: Final = frozenset(
    {
        *(f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")),
        *(f"collections.{name}" for name in ("deque", "defaultdict", "OrderedDict", "Counter")),
    }
)
_CONTAINER_ANNOTATIONS: Final = frozenset({"list", "dict", "set", "List", "Dict", "Set", "deque"})


@dataclass(frozen=True)
class Mutation:
    """A mutation of a variable, and the rule that it breaks."""

    node: ast.expr
    variable: str
    rule: Rule


class Mutations:
    """Finds the mutations in one module."""

    def __init__(self, resolver: NameResolver, reader: Reader) -> None:
        self._resolver = resolver
        self._reader = reader

    def made_by(self, node: ast.AST, frame: CallFrame) -> Iterator[Mutation]:
        """Yield the mutations by a node of variables outside of its step or child."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from self._store(target, value, frame)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                yield from self._store(target, value, frame)
            case ast.AugAssign(target=target):
                yield from self._store(target, None, frame)
            case ast.Delete(targets=targets):
                for target in targets:
                    yield from self._store(target, None, frame)
            case ast.Call(func=ast.Attribute(value=receiver, attr=name)) if (
                name in _MUTATING_METHODS
            ):
                yield from self._call(node, receiver, frame)
            case _:
                pass

    def _store(
        self, target: ast.expr, value: ast.expr | None, frame: CallFrame
    ) -> Iterator[Mutation]:
        match target:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for each in elements:
                    yield from self._store(each, None, frame)
            case ast.Starred(value=inner):
                yield from self._store(inner, None, frame)
            case ast.Name(id=name) if name in frame.scope.globals | frame.scope.nonlocals:
                yield from self._mutation(target, name, [value], frame)
            case ast.Subscript() | ast.Attribute():
                root = _root(target)
                if root is not None and self._is_plain_state(target, root, frame):
                    yield from self._mutation(target, root, [value], frame)
            case _:
                pass

    def _call(self, call: ast.Call, receiver: ast.expr, frame: CallFrame) -> Iterator[Mutation]:
        name = _root(receiver)
        if name is not None and self._is_container(receiver, frame.scope):
            yield from self._mutation(call, name, [*call.args], frame)

    def _mutation(
        self, node: ast.expr, name: str, values: list[ast.expr | None], frame: CallFrame
    ) -> Iterator[Mutation]:
        rule = self._rule(name, frame)
        if rule is Rule.GLOBAL_CHANGE and any(
            each is not None and self._reader.is_context(each, frame.scope, frame.contexts)
            for each in values
        ):
            rule = Rule.CONTEXT_ESCAPES
        if rule is not None:
            yield Mutation(node, name, rule)

    def _rule(self, name: str, frame: CallFrame) -> Rule | None:
        outer = frame.scope.parent if name in frame.scope.nonlocals else frame.scope
        found = outer.find(name) if outer is not None else None
        if found is None or found[0].within(frame.inside):
            return None
        if found[0].within(frame.region):
            return Rule.CHANGE_LOST_ON_REPLAY
        return Rule.GLOBAL_CHANGE if frame.replayed else None

    def _is_plain_state(self, target: ast.expr, name: str, frame: CallFrame) -> bool:
        """Return whether the target of a store is plain state, rather than an external resource."""
        base = target.value if isinstance(target, ast.Subscript | ast.Attribute) else target
        if self._resolver.path_of(base, frame.scope) in ENVIRONMENT_OBJECTS:
            return False
        found = frame.scope.find(name)
        if found is None:
            return False
        owner, bindings = found
        outside = not owner.within(frame.region)
        return any(outside or self._is_state(each, owner, frame) for each in bindings)

    def _is_state(self, binding: Binding, owner: Scope, frame: CallFrame) -> bool:
        match binding:
            case Parameter():
                return True
            case Assigned(ast.Call() as call):
                return (
                    self._reader.operation(call, owner, frame.contexts) is not None
                    or self._resolver.class_of(call, owner) is not None
                    or self._is_container_value(call, owner)
                )
            case Assigned(ast.Await()):
                return False
            case Assigned():
                return True
            case _:
                return False

    def _is_container(self, expression: ast.expr, scope: Scope) -> bool:
        match expression:
            case ast.Name(id=name) if (found := scope.find(name)) is not None:
                return any(self._is_container_binding(each, found[0]) for each in found[1])
            case ast.Attribute(value=value, attr=name):
                owner = self._resolver.class_of(value, scope)
                values = owner.attributes.get(name, []) if owner else []
                return any(self._is_container_value(each, where) for each, where in values)
            case _:
                return False

    def _is_container_binding(self, binding: Binding, owner: Scope) -> bool:
        match binding:
            case Parameter(node):
                return _is_container_annotation(node.annotation)
            case Assigned(value, annotation):
                return _is_container_annotation(annotation) or (
                    value is not None and self._is_container_value(value, owner)
                )
            case _:
                return False

    def _is_container_value(self, value: ast.expr, scope: Scope) -> bool:
        match value:
            case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp():
                return True
            case ast.SetComp():
                return True
            case ast.Call(func=ast.Subscript(value=function)) | ast.Call(func=function):
                return self._resolver.path_of(function, scope) in _CONTAINERS
            case _:
                return False


def _root(expression: ast.expr) -> str | None:
    while isinstance(expression, ast.Subscript | ast.Attribute):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def _is_container_annotation(annotation: ast.expr | None) -> bool:
    match annotation:
        case ast.Subscript(value=value):
            return _is_container_annotation(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _CONTAINER_ANNOTATIONS
        case _:
            return False
