"""Resolution of expressions to dotted paths, through imports and aliases.

`now = datetime.now` followed by `now()` is a call of `datetime.datetime.now`; a method of what
`boto3.client("s3")` returned is `boto3.client().get_object`. Where several assignments disagree,
the first that resolves counts; where none does, nothing is reported.
"""

import ast
import builtins
from collections.abc import Iterable
from typing import Final

from perdure.lint.scopes import (
    Assigned,
    Binding,
    Defined,
    Imported,
    Module,
    Parameter,
    Scope,
)

_DEPTH_MAX: Final = 12
_BUILTINS: Final = frozenset(dir(builtins))
_SDK_ROOTS: Final = ("perdure", "aws_durable_execution_sdk_python")

# Known by name wherever they are imported from, since projects wrap and re-export them.
_UNMISTAKABLE: Final = frozenset(
    {
        "durable_execution",
        "durable_step",
        "durable_with_child_context",
        "durable_wait_for_callback",
        "durable_parallel_branch",
    }
)
_FROM_SDK: Final = frozenset({"with_retry", "DurableContext", "ParallelBranch", "WithRetryConfig"})


class NameResolver:
    """Resolves the names of one module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[tuple[Scope, str], str | None] = {}

    def path_of(self, expression: ast.expr, scope: Scope) -> str | None:
        """Return the dotted path that an expression refers to."""
        match expression:
            case ast.Name(id=name):
                return self._of_name(name, scope)
            case ast.Attribute(value=value, attr=attribute):
                owner = self.path_of(value, scope)
                return f"{owner}.{attribute}" if owner else self._attribute(expression, scope)
            case ast.Call(func=function):
                called = self.path_of(function, scope)
                if called == "functools.partial" and expression.args:
                    return self.path_of(expression.args[0], scope)
                return f"{called}()" if called else None
            case ast.Subscript(value=value):
                owner = self.path_of(value, scope)
                return f"{owner}[]" if owner else None
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self.path_of(value, scope)
            case ast.BoolOp(values=values):
                return self._first(values, scope)
            case ast.IfExp(body=body, orelse=other):
                return self._first((body, other), scope)
            case ast.BinOp(left=left, op=ast.Div()):
                owner = self.path_of(left, scope)
                return owner if owner == "pathlib.Path()" else None
            case _:
                return None

    def sdk_name(self, expression: ast.expr, scope: Scope) -> str | None:
        """Return the name in the SDK that an expression refers to, called or not."""
        origin = (self.path_of(expression, scope) or "").removesuffix("()")
        name = origin.rsplit(".", 1)[-1]
        in_sdk = origin.split(".")[0] in _SDK_ROOTS or name in _UNMISTAKABLE
        return name if in_sdk and "." in origin else None

    def class_of(self, expression: ast.expr, scope: Scope) -> Scope | None:
        """Return the class of this module that an expression is, or is an instance of."""
        match expression:
            case ast.Call(func=function):
                return self.class_of(function, scope)
            case ast.Name(id=name) if (found := scope.find(name)) is not None:
                if found[0].receiver() == name:
                    return found[0].parent
                return self._class_among(found[1], found[0])
            case _:
                return None

    def class_named(self, name: ast.Name, scope: Scope) -> Scope | None:
        """Return the class of this module that a name refers to, but not for an instance."""
        found = scope.find(name.id)
        for binding in found[1] if found else []:
            if isinstance(binding, Defined) and isinstance(binding.node, ast.ClassDef):
                return self._module.scopes[binding.node]
        return None

    def method(self, owner: Scope, name: str, depth: int = 0) -> Scope | None:
        """Return the method of a class, inherited ones included."""
        for binding in owner.bindings.get(name, []):
            if isinstance(binding, Defined) and not isinstance(binding.node, ast.ClassDef):
                return self._module.scopes[binding.node]
        if depth > _DEPTH_MAX or not isinstance(owner.node, ast.ClassDef):
            return None
        for each in owner.node.bases:
            base = self.class_of(each, owner.parent or owner)
            if base is not None and (found := self.method(base, name, depth + 1)) is not None:
                return found
        return None

    def function_of(self, expression: ast.expr, scope: Scope, depth: int = 0) -> Scope | None:
        """Return the scope of the function of this module that an expression refers to."""
        if depth > _DEPTH_MAX:
            return None
        match expression:
            case ast.Lambda():
                return self._module.scopes.get(expression)
            case ast.Name(id=name) if (found := scope.find(name)) is not None:
                return self._function_among(found[1], found[0], depth + 1)
            case ast.Attribute(value=value, attr=name):
                owner = self.class_of(value, scope)
                return self.method(owner, name) if owner else None
            case ast.Call(func=function, args=[first, *_]):
                if self.path_of(function, scope) in {
                    "functools.partial",
                    "functools.partialmethod",
                }:
                    return self.function_of(first, scope, depth + 1)
                return None
            case _:
                return None

    def _of_name(self, name: str, scope: Scope) -> str | None:
        found = scope.find(name)
        if found is None:
            if name in _BUILTINS:
                return f"builtins.{name}"
            return self._of_starred(name)
        owner, bindings = found
        if (owner, name) not in self._known:
            self._known[owner, name] = None  # a cycle resolves to nothing
            self._known[owner, name] = self._of_bindings(bindings, owner)
        return self._known[owner, name]

    def _of_bindings(self, bindings: list[Binding], owner: Scope) -> str | None:
        for binding in bindings:
            match binding:
                case Imported(dotted):
                    return dotted
                case Assigned(value) if value is not None:
                    if (origin := self.path_of(value, owner)) is not None:
                        return origin
                case _:
                    pass
        return None

    def _of_starred(self, name: str) -> str | None:
        in_sdk = name in _UNMISTAKABLE or name in _FROM_SDK
        for module in self._module.starred:
            if in_sdk == (module.split(".")[0] in _SDK_ROOTS):
                return f"{module}.{name}"
        return None

    def _attribute(self, node: ast.Attribute, scope: Scope) -> str | None:
        owner = self.class_of(node.value, scope)
        key = (owner, f".{node.attr}") if owner else None
        if owner is None or key is None:
            return None
        if key not in self._known:
            self._known[key] = None  # likewise
            values = owner.attributes.get(node.attr, [])
            self._known[key] = next(
                (found for value, where in values if (found := self.path_of(value, where))), None
            )
        return self._known[key]

    def _first(self, expressions: Iterable[ast.expr], scope: Scope) -> str | None:
        return next((found for each in expressions if (found := self.path_of(each, scope))), None)

    def _class_among(self, bindings: list[Binding], owner: Scope) -> Scope | None:
        for binding in bindings:
            match binding:
                case Defined(node) if isinstance(node, ast.ClassDef):
                    return self._module.scopes[node]
                case Assigned(ast.Call(func=ast.Name() as function)):
                    if (found := self.class_named(function, owner)) is not None:
                        return found
                case Parameter(node) | Assigned(annotation=node) if node is not None:
                    annotation = node.annotation if isinstance(node, ast.arg) else node
                    if isinstance(annotation, ast.Name):
                        return self.class_named(annotation, owner)
                case _:
                    pass
        return None

    def _function_among(self, bindings: list[Binding], owner: Scope, depth: int) -> Scope | None:
        for binding in bindings:
            match binding:
                case Defined(node) if not isinstance(node, ast.ClassDef):
                    return self._module.scopes[node]
                case Assigned(value) if value is not None:
                    if (found := self.function_of(value, owner, depth)) is not None:
                        return found
                case _:
                    pass
        return None
