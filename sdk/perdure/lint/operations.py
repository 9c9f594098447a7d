"""Durable operations: which calls are operations, and which argument of each is the code it runs.

That code is either a body, whose outcome is recorded, so that it may be nondeterministic; or a
child, which is handler code with a context of its own.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from perdure.lint.name_resolver import NameResolver
from perdure.lint.scopes import Assigned, Parameter, Scope


class Role(Enum):
    """Role of a function."""

    HANDLER = "HANDLER"
    CHILD = "CHILD"
    BODY = "BODY"


@dataclass(frozen=True)
class Runs:
    """The argument that an operation runs, its role, and its parameter for the context."""

    position: int
    keyword: str
    role: Role
    context_position: int = 0


@dataclass(frozen=True)
class Operation:
    """A durable call: its name, and the context on which it is called."""

    name: str
    context: ast.expr


OPERATIONS: Final[dict[str, Runs | None]] = {
    "step": Runs(0, "func", Role.BODY),
    "wait": None,
    "create_wait": None,
    "now": None,
    "uuid": None,
    "random": None,
    "create_callback": None,
    "wait_for_callback": Runs(0, "submitter", Role.BODY, context_position=1),
    "wait_for_condition": Runs(0, "check", Role.BODY, context_position=1),
    "invoke": None,
    "map": Runs(1, "func", Role.CHILD),
    "parallel": Runs(0, "functions", Role.CHILD),
    "race": Runs(0, "branches", Role.CHILD),
    "any_of": Runs(0, "branches", Role.CHILD),
    "all_of": Runs(0, "branches", Role.CHILD),
    "run_in_child_context": Runs(0, "func", Role.CHILD),
    "with_retry": Runs(1, "func", Role.CHILD),
}

# Methods of the results of these operations, which are durable calls too.
_CREATORS: Final = {
    "result": frozenset({"create_callback", "create_wait"}),
    "cancel": frozenset({"create_wait"}),
}

DECORATORS: Final[dict[str, tuple[Role, int]]] = {
    "durable_execution": (Role.HANDLER, 1),
    "durable_with_child_context": (Role.CHILD, 0),
    "durable_parallel_branch": (Role.CHILD, 0),
    "durable_step": (Role.BODY, 0),
    "durable_wait_for_callback": (Role.BODY, 1),
}

_CONTEXT_NAME: Final = re.compile(r"\bDurableContext\b(?!\])")

_ALIASES_MAX: Final = 4

Contexts = frozenset[tuple[Scope, str]]


class Reader:
    """Recognizes contexts and operations in one module."""

    def __init__(self, resolver: NameResolver) -> None:
        self._resolver = resolver

    def operation(self, call: ast.Call, scope: Scope, contexts: Contexts) -> Operation | None:
        """Return the durable operation that a call is."""
        if self._resolver.sdk_name(call.func, scope) == "with_retry":
            context = argument(call, 0, "context")
            return Operation("with_retry", context) if context else None
        if not isinstance(call.func, ast.Attribute):
            return None
        receiver, name = call.func.value, call.func.attr
        if name in OPERATIONS and name != "with_retry":
            return Operation(name, receiver) if self.is_context(receiver, scope, contexts) else None
        creators = _CREATORS.get(name)
        context = self._creator(creators, receiver, scope, contexts) if creators else None
        return Operation(name, context) if context else None

    def is_context(self, expression: ast.expr, scope: Scope, contexts: Contexts) -> bool:
        """Return whether an expression is a durable context."""
        return self.context_owner(expression, scope, contexts) is not None

    def context_owner(
        self, expression: ast.expr, scope: Scope, contexts: Contexts, depth: int = 0
    ) -> Scope | None:
        """Return the function whose context an expression is; a class, for an attribute."""
        if depth > _ALIASES_MAX:
            return None
        if isinstance(expression, ast.Attribute):
            return self._attribute_owner(expression, scope, depth + 1)
        if not isinstance(expression, ast.Name):
            return None
        found = scope.find(expression.id)
        if found is None:
            return None
        owner, bindings = found
        if (owner, expression.id) in contexts:
            return owner
        for binding in bindings:
            match binding:
                case Parameter(node) if self._is_context_annotation(node.annotation, owner):
                    return owner
                case Assigned(ast.Name() | ast.Attribute() as value):
                    return self.context_owner(value, owner, contexts, depth + 1)
                case _:
                    pass
        return None

    def takes_context(self, scope: Scope) -> bool:
        """Return whether a parameter of a function is annotated as a context."""
        return any(
            self._is_context_annotation(binding.node.annotation, scope)
            for bindings in scope.bindings.values()
            for binding in bindings
            if isinstance(binding, Parameter)
        )

    def role_of(self, function: Scope) -> tuple[Role, int] | None:
        """Return the role of a decorated function, and the position of its context parameter."""
        for decorator in function.decorators:
            name = self._resolver.sdk_name(decorator, function.parent or function)
            if name in DECORATORS:
                return DECORATORS[name]
        return None

    def code(self, expression: ast.expr, scope: Scope) -> Iterator[Scope]:
        """Yield the functions that an operation runs when an expression is passed to it."""
        waiting, seen = [(expression, scope)], set[ast.expr]()
        while waiting:
            part, where = waiting.pop()
            if part in seen:
                continue
            seen.add(part)
            function = self._resolver.function_of(part, where)
            if function is not None:
                yield function
            else:
                waiting.extend(self._parts(part, where))

    def _parts(self, expression: ast.expr, scope: Scope) -> Iterator[tuple[ast.expr, Scope]]:
        match expression:
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                yield from ((each, scope) for each in elements)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                yield element, scope
            case ast.Starred(value=value) | ast.NamedExpr(value=value):
                yield value, scope
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                yield from ((one, scope), (other, scope))
            case ast.Call():
                yield from self._created_by(expression, scope)
            case ast.Name(id=name) if (found := scope.find(name)) is not None:
                for binding in found[1]:
                    if isinstance(binding, Assigned) and binding.value is not None:
                        yield binding.value, found[0]
            case _:
                pass

    def _created_by(self, call: ast.Call, scope: Scope) -> Iterator[tuple[ast.expr, Scope]]:
        if self._resolver.sdk_name(call.func, scope) == "ParallelBranch":
            function = argument(call, 0, "func")
            yield from ((function, scope),) if function else ()
            return
        factory = self._resolver.function_of(call.func, scope)
        if factory is None:
            return
        if self.role_of(factory) is not None:
            yield call.func, scope
        elif not isinstance(factory.node, ast.Module | ast.ClassDef):
            yield from ((each, factory) for each in _returned(factory.node))

    def _creator(
        self, creators: frozenset[str], expression: ast.expr, scope: Scope, contexts: Contexts
    ) -> ast.expr | None:
        """Return the context that created the callback or wait that an expression is."""
        candidates = [expression]
        if isinstance(expression, ast.Name) and (found := scope.find(expression.id)) is not None:
            scope = found[0]
            candidates = [
                each.value for each in found[1] if isinstance(each, Assigned) and each.value
            ]
        for each in candidates:
            made = each.value if isinstance(each, ast.Await) else each
            match made:
                case ast.Call(func=ast.Attribute(value=context, attr=attr)) if attr in creators:
                    return context if self.is_context(context, scope, contexts) else None
                case _:
                    pass
        return None

    def _attribute_owner(self, node: ast.Attribute, scope: Scope, depth: int) -> Scope | None:
        owner = self._resolver.class_of(node.value, scope)
        if owner is None:
            return None
        for binding in owner.bindings.get(node.attr, []):
            if isinstance(binding, Assigned) and self._is_context_annotation(
                binding.annotation, owner
            ):
                return owner
        values = owner.attributes.get(node.attr, [])
        holds_context = any(
            self.context_owner(each, where, frozenset(), depth) is not None
            for each, where in values
        )
        return owner if holds_context else None

    def _is_context_annotation(self, annotation: ast.expr | None, scope: Scope) -> bool:
        match annotation:
            case ast.Constant(value=str(text)):
                return _CONTEXT_NAME.search(text) is not None
            case ast.Name() | ast.Attribute():
                origin = self._resolver.path_of(annotation, scope) or ""
                return origin.rsplit(".", 1)[-1] == "DurableContext"
            case ast.BinOp(left=left, right=right):
                return self._is_context_annotation(left, scope) or self._is_context_annotation(
                    right, scope
                )
            case _:
                return False


def argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    """Return an argument of a call by its position or its name."""
    if position < len(call.args) and not any(
        isinstance(each, ast.Starred) for each in call.args[: position + 1]
    ):
        return call.args[position]
    return next((each.value for each in call.keywords if each.arg == keyword), None)


def _returned(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.expr]:
    if isinstance(function, ast.Lambda):
        return [function.body]
    returns = (each for each in own_nodes(function.body) if isinstance(each, ast.Return))
    return [each.value for each in returns if each.value is not None]


def own_nodes(nodes: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """Yield all nodes that run with these, excluding those of nested functions and classes."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def compared_identities(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node only compares or looks up, so that it tells objects apart and no more."""
    match node:
        case ast.Compare(left=left, comparators=others, ops=ops):
            if not any(isinstance(each, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for each in ops):
                yield from (left, *others)
        case ast.Subscript(slice=key):
            yield key
        case ast.Dict(keys=keys):
            yield from (each for each in keys if each is not None)
        case ast.Set(elts=elements):
            yield from elements
        case ast.Call(func=ast.Attribute(attr="add" | "get" | "discard"), args=[first, *_]):
            yield first
        case _:
            pass
