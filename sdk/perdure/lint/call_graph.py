"""Call graph of a module: the functions that calls reach, and whether they make durable calls."""

import ast
from dataclasses import dataclass

from perdure.lint.name_resolver import NameResolver
from perdure.lint.operations import Contexts, Reader, own_nodes
from perdure.lint.scopes import Scope


class CallGraph:
    """The call graph of one module."""

    def __init__(self, resolver: NameResolver, reader: Reader) -> None:
        self._resolver = resolver
        self._reader = reader

    def called(self, call: ast.Call, scope: Scope) -> list[Scope]:
        """Return the functions of this module that a call enters directly.

        Decorated ones are excluded: calling them only binds their arguments.
        """
        function = self._resolver.function_of(call.func, scope)
        if function is not None:
            return [] if self._reader.role_of(function) else [function]
        if not isinstance(call.func, ast.Name):
            return []
        owner = self._resolver.class_named(call.func, scope)
        if owner is None:
            return []
        constructors = (
            self._resolver.method(owner, name) for name in ("__init__", "__post_init__")
        )
        return [each for each in constructors if each is not None]

    def contexts_passed(
        self, call: ast.Call, scope: Scope, contexts: Contexts, target: Scope
    ) -> Contexts:
        """Return the parameters of a called function that receive a context by this call."""
        names = target.parameters()
        passed = [
            *zip(names, call.args, strict=False),
            *((each.arg, each.value) for each in call.keywords if each.arg),
        ]
        return frozenset(
            (target, name)
            for name, value in passed
            if self._reader.is_context(value, scope, contexts)
        )

    def durable(
        self, nodes: list[ast.stmt] | list[ast.expr], scope: Scope, contexts: Contexts
    ) -> bool:
        """Return whether running these nodes may make a durable call."""
        waiting = [_Visit(nodes, scope, contexts)]
        seen = {scope}
        while waiting:
            visit = waiting.pop()
            for call in own_nodes(visit.nodes):
                if not isinstance(call, ast.Call):
                    continue
                if self._reader.operation(call, visit.scope, visit.contexts) is not None:
                    return True
                for target in self.called(call, visit.scope):
                    if target not in seen:
                        seen.add(target)
                        waiting.append(self._visit(call, visit, target))
        return False

    def durable_function(self, function: Scope, contexts: Contexts) -> bool:
        """Return whether running a function may make a durable call."""
        return self.durable(body_of(function), function, contexts)

    def _visit(self, call: ast.Call, visit: "_Visit", target: Scope) -> "_Visit":
        passed = self.contexts_passed(call, visit.scope, visit.contexts, target)
        return _Visit(body_of(target), target, visit.contexts | passed)


@dataclass(frozen=True)
class _Visit:
    nodes: list[ast.stmt] | list[ast.expr]
    scope: Scope
    contexts: Contexts


def body_of(function: Scope) -> list[ast.stmt] | list[ast.expr]:
    """Return the statements or the expression that a function runs."""
    return [function.node.body] if isinstance(function.node, ast.Lambda) else function.node.body
