"""Uses of the iteration order of sets.

The iteration order of a set of texts differs between processes, so it may differ on a replay. Sets
of literal whole numbers have a fixed order; `sorted`, `len`, `sum` and the like do not depend on
it.
"""

import ast
from collections.abc import Iterator
from typing import Final

from perdure.lint.name_resolver import NameResolver
from perdure.lint.scopes import Assigned, Binding, Parameter, Scope

_SETS: Final = frozenset({"builtins.set", "builtins.frozenset"})
_SET_ANNOTATIONS: Final = frozenset(
    {
        *("set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"),
    }
)
_KEEPS_SET: Final = frozenset({"union", "intersection", "difference", "symmetric_difference"})
_TAKES_ORDER: Final = frozenset(
    f"builtins.{name}" for name in ("list", "tuple", "enumerate", "iter", "zip", "map", "filter")
)
_LEAVES_ORDER: Final = frozenset(
    {
        *(f"builtins.{name}" for name in ("sorted", "sum", "any", "all", "min", "max", "len")),
        *("builtins.set", "builtins.frozenset", "collections.Counter", "math.fsum"),
    }
)


class SetOrder:
    """Finds uses of the order of sets in one module."""

    def __init__(self, resolver: NameResolver) -> None:
        self._resolver = resolver
        self._harmless: set[ast.AST] = set()
        self._known: dict[tuple[Scope, str], bool] = {}

    def escapes(self, node: ast.AST, scope: Scope) -> Iterator[ast.expr]:
        """Yield the sets whose order a node uses; visit outer nodes before inner ones."""
        if node in self._harmless:
            return
        match node:
            case ast.For(body=body, orelse=[]) if all(map(_only_adds, body)):
                return
            case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated):
                yield from self._sets([iterated], scope)
            case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
                yield from self._sets([each.iter for each in generators], scope)
            case ast.Starred(value=value, ctx=ast.Load()):
                yield from self._sets([value], scope)
            case ast.Call():
                yield from self._escapes_call(node, scope)
            case _:
                pass

    def is_set(self, expression: ast.expr, scope: Scope) -> bool:
        """Return whether an expression is certainly a set without a fixed order."""
        match expression:
            case ast.Set(elts=elements):
                return not all(_is_whole_number(each) for each in elements)
            case ast.SetComp():
                return True
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _KEEPS_SET:
                return self.is_set(value, scope)
            case ast.Call(func=function, args=arguments):
                return self._resolver.path_of(function, scope) in _SETS and not any(
                    self._is_range(each, scope) for each in arguments
                )
            case ast.BinOp(left=one, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
                return self.is_set(one, scope)
            case ast.Name(id=name) if (found := scope.find(name)) is not None:
                return self._is_set_name(name, *found)
            case _:
                return False

    def _escapes_call(self, call: ast.Call, scope: Scope) -> Iterator[ast.expr]:
        origin = self._resolver.path_of(call.func, scope)
        if origin in _LEAVES_ORDER:
            self._harmless.update(call.args)
        elif origin in _TAKES_ORDER:
            yield from self._sets(call.args, scope)
        elif isinstance(call.func, ast.Attribute):
            if call.func.attr in {"join", "map"}:
                yield from self._sets(call.args[:1], scope)
            elif call.func.attr == "pop" and not call.args:
                yield from self._sets([call.func.value], scope)

    def _sets(self, expressions: list[ast.expr], scope: Scope) -> Iterator[ast.expr]:
        return (each for each in expressions if self.is_set(each, scope))

    def _is_set_name(self, name: str, owner: Scope, bindings: list[Binding]) -> bool:
        key = (owner, name)
        if key not in self._known:
            self._known[key] = True  # a cycle does not contradict it
            self._known[key] = all(self._is_set_binding(each, owner) for each in bindings)
        return self._known[key]

    def _is_set_binding(self, binding: Binding, owner: Scope) -> bool:
        match binding:
            case Parameter(node):
                return _is_set_annotation(node.annotation)
            case Assigned(value, annotation):
                return _is_set_annotation(annotation) or (
                    value is not None and self.is_set(value, owner)
                )
            case _:
                return False

    def _is_range(self, expression: ast.expr, scope: Scope) -> bool:
        return self._resolver.path_of(expression, scope) == "builtins.range()"


def _only_adds(statement: ast.stmt) -> bool:
    """Return whether a statement only adds to a set, or takes from one, whatever the order."""
    match statement:
        case ast.Expr(ast.Call(func=ast.Attribute(attr="add" | "discard"))):
            return True
        case ast.If(body=body, orelse=otherwise):
            return all(map(_only_adds, [*body, *otherwise]))
        case ast.Pass() | ast.Continue():
            return True
        case _:
            return False


def _is_whole_number(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant) and isinstance(expression.value, int)


def _is_set_annotation(annotation: ast.expr | None) -> bool:
    match annotation:
        case ast.Subscript(value=value):
            return _is_set_annotation(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _SET_ANNOTATIONS
        case _:
            return False
