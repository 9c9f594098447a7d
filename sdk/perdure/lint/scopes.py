"""Lexical scopes of a module, and the names bound in them.

They follow Python's rules, simplified where the check allows it: variables of comprehensions
belong to the function around them, and every assignment counts, wherever it stands.
"""

import ast
import warnings
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
ScopeNode: TypeAlias = ast.Module | ast.ClassDef | FunctionNode


@dataclass(frozen=True)
class Imported:
    """A name for something of another module, by its dotted path."""

    dotted: str


@dataclass(frozen=True)
class Defined:
    """A function or a class of this module."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Parameter:
    """A parameter of the function that the scope belongs to."""

    node: ast.arg


@dataclass(frozen=True)
class Assigned:
    """A variable; its value is None where it is unknown, as in loops and unpacking."""

    value: ast.expr | None
    annotation: ast.expr | None = None


Binding: TypeAlias = Imported | Defined | Parameter | Assigned


@dataclass(eq=False)
class Scope:
    """The names of a module, a class or a function; `attributes` are those of `self`."""

    node: ScopeNode
    parent: "Scope | None"
    bindings: dict[str, list[Binding]] = field(default_factory=dict[str, list[Binding]])
    attributes: dict[str, list[tuple[ast.expr, "Scope"]]] = field(
        default_factory=dict[str, list[tuple[ast.expr, "Scope"]]]
    )
    globals: set[str] = field(default_factory=set[str])
    nonlocals: set[str] = field(default_factory=set[str])

    @property
    def name(self) -> str:
        """The name in messages."""
        match self.node:
            case ast.Module():
                return "module"
            case ast.Lambda():
                return f"lambda on line {self.node.lineno}"
            case _:
                return self.node.name

    @property
    def module(self) -> "Scope":
        """The outermost scope."""
        return self if self.parent is None else self.parent.module

    def within(self, scopes: AbstractSet["Scope"]) -> bool:
        """Return whether this is one of the scopes, or inside one."""
        return self in scopes or (self.parent is not None and self.parent.within(scopes))

    def parameters(self) -> list[str]:
        """Return the names of positional parameters, without the `self` of a method."""
        if isinstance(self.node, ast.Module | ast.ClassDef):
            return []
        names = [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args)]
        return names[1:] if self.receiver() else names

    def receiver(self) -> str | None:
        """Return the name of `self` or `cls`, if this is a method that has one."""
        if isinstance(self.node, ast.Module | ast.ClassDef | ast.Lambda):
            return None
        if self.parent is None or not isinstance(self.parent.node, ast.ClassDef):
            return None
        if any(
            isinstance(each, ast.Name) and each.id == "staticmethod" for each in self.decorators
        ):
            return None
        names = [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args)]
        return names[0] if names else None

    @property
    def decorators(self) -> list[ast.expr]:
        """The decorators of a function or a class."""
        return [] if isinstance(self.node, ast.Module | ast.Lambda) else self.node.decorator_list

    def find(self, name: str) -> "tuple[Scope, list[Binding]] | None":
        """Return the scope that owns a name visible here, and its bindings."""
        scope: Scope | None = self.module if name in self.globals else self
        while scope is not None:
            visible = scope is self or not isinstance(scope.node, ast.ClassDef)
            if visible and name in scope.bindings:
                return scope, scope.bindings[name]
            scope = scope.parent
        return None


@dataclass(frozen=True)
class Module:
    """A parsed file: its tree, its scopes, and the scope in which each call stands."""

    path: str
    text: str
    tree: ast.Module
    scopes: dict[ast.AST, Scope]
    calls: list[tuple[ast.Call, Scope]]
    starred: list[str]


def read_module(path: str, text: str) -> Module:
    """Parse and bind a module; raise `SyntaxError` or `ValueError` if it is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes and the like, which no rule covers
        tree = ast.parse(text, filename=path)
    binder = _Binder(tree)
    for statement in tree.body:
        binder.visit(statement)
    return Module(path, text, tree, binder.scopes, binder.calls, binder.starred)


class _Binder(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.scope = Scope(tree, None)
        self.scopes: dict[ast.AST, Scope] = {tree: self.scope}
        self.calls: list[tuple[ast.Call, Scope]] = []
        self.starred: list[str] = []

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            if each.asname:
                self._bind(each.asname, Imported(each.name))
            else:
                top = each.name.split(".")[0]
                self._bind(top, Imported(top))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for each in node.names:
            if each.name == "*":
                self.starred.append(module)
            else:
                self._bind(each.asname or each.name, Imported(f"{module}.{each.name}"))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._define_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._define_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_defaults(node.args)
        self._enter(node, [node.body], node.args)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, Defined(node))
        for each in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(each)
        self._enter(node, node.body, None)

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.nonlocals.update(node.names)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value, None)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._assign(node.target, node.value, node.annotation)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, Assigned(node.value))
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bind(node.target.id, Assigned(node.value))
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self._assign(node.target, None, None)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._assign(node.target, None, None)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._assign(node.target, None, None)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._assign(node.optional_vars, node.context_expr, None)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, Assigned(None))
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name, Assigned(None))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append((node, self.scope))
        self.generic_visit(node)

    def _define_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name, Defined(node))
        for each in node.decorator_list:
            self.visit(each)
        self._visit_defaults(node.args)
        self._enter(node, node.body, node.args)

    def _visit_defaults(self, arguments: ast.arguments) -> None:
        for each in (*arguments.defaults, *arguments.kw_defaults):
            if each is not None:
                self.visit(each)

    def _enter(
        self,
        node: ast.ClassDef | FunctionNode,
        body: list[ast.stmt] | list[ast.expr],
        arguments: ast.arguments | None,
    ) -> None:
        outer, self.scope = self.scope, Scope(node, self.scope)
        self.scopes[node] = self.scope
        for each in () if arguments is None else all_parameters(arguments):
            self._bind(each.arg, Parameter(each))
        for child in body:
            self.visit(child)
        self.scope = outer

    def _assign(
        self, target: ast.expr, value: ast.expr | None, annotation: ast.expr | None
    ) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, Assigned(value, annotation))
            case ast.Starred(value=inner):
                self._assign(inner, None, None)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for each in elements:
                    self._assign(each, None, None)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if value is not None:
                self._assign_attribute(name, attribute, value)
            case _:
                pass

    def _assign_attribute(self, owner: str, attribute: str, value: ast.expr) -> None:
        if self.scope.parent is not None and owner == self.scope.receiver():
            self.scope.parent.attributes.setdefault(attribute, []).append((value, self.scope))

    def _bind(self, name: str, binding: Binding) -> None:
        if name in self.scope.nonlocals:
            return
        scope = self.scope.module if name in self.scope.globals else self.scope
        scope.bindings.setdefault(name, []).append(binding)


def all_parameters(arguments: ast.arguments) -> list[ast.arg]:
    """Return every parameter of a function, in any position."""
    rest = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]
