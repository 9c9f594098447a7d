"""Code that swallows the exception by which a handler suspends.

An execution that waits leaves its handler by an exception derived from `BaseException`. Code that
catches it and continues takes the wait for done.
"""

import ast
from collections.abc import Iterator
from typing import Final

from perdure.lint.name_resolver import NameResolver
from perdure.lint.operations import own_nodes
from perdure.lint.scopes import Scope

_CONTROL_FLOW: Final = frozenset(
    {"SuspendExecution", "TimedSuspendExecution", "OrphanedChildException"}
)


class Suspension:
    """Finds such code in one module."""

    def __init__(self, resolver: NameResolver) -> None:
        self._resolver = resolver

    def swallowed_by(self, node: ast.Try | ast.TryStar, scope: Scope) -> Iterator[ast.AST]:
        """Yield the nodes that swallow suspensions of the statement's body."""
        for handler in node.handlers:
            if not self._catches(handler.type, scope):
                continue
            if _raises_again(handler):
                break
            yield handler
        yield from (each for each in own_nodes(node.finalbody) if isinstance(each, ast.Return))

    def suppressed_by(self, node: ast.With | ast.AsyncWith, scope: Scope) -> Iterator[ast.expr]:
        """Yield the context managers that swallow suspensions of the statement's body."""
        for item in node.items:
            match item.context_expr:
                case ast.Call(func=function, args=arguments) as call if (
                    self._resolver.path_of(function, scope) == "contextlib.suppress"
                ):
                    if any(self._catches(each, scope) for each in arguments):
                        yield call
                case _:
                    pass

    def _catches(self, kind: ast.expr | None, scope: Scope) -> bool:
        if kind is None:
            return True
        if isinstance(kind, ast.Tuple):
            return any(self._catches(each, scope) for each in kind.elts)
        if self._resolver.path_of(kind, scope) == "builtins.BaseException":
            return True
        return self._resolver.sdk_name(kind, scope) in _CONTROL_FLOW


def _raises_again(handler: ast.ExceptHandler) -> bool:
    for node in own_nodes(handler.body):
        match node:
            case ast.Raise(exc=None):
                return True
            case ast.Raise(exc=ast.Name(id=name)) if name == handler.name:
                return True
            case _:
                pass
    return False
