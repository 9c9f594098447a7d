"""Analysis of a module: follows calls from durable functions until nothing new is reached.

It starts at every handler, step and child marked by a decorator, and at every function that takes a
`DurableContext`. Code that nothing durable reaches is not checked.
"""

import ast

from perdure.lint.call_frames import CallFrame, first_frame
from perdure.lint.call_graph import body_of
from perdure.lint.findings import Finding
from perdure.lint.function_visitor import FunctionVisitor
from perdure.lint.module_analysis import ModuleAnalysis
from perdure.lint.operations import Role
from perdure.lint.scopes import Module, Scope


def analyze_module(module: Module) -> list[Finding]:
    """Return all findings, in the order of the file."""
    analysis = ModuleAnalysis(module)
    marked = {scope: analysis.reader.role_of(scope) for scope in _functions(module)}
    marked.update(dict.fromkeys(_wrapped(analysis), (Role.HANDLER, 1)))
    for start_role in (Role.HANDLER, Role.CHILD, Role.BODY):
        for scope, role in marked.items():
            if role is not None and role[0] is start_role:
                _start(analysis, first_frame(scope, *role))
    for scope, role in marked.items():
        if role is None and analysis.reader.takes_context(scope):
            _start(analysis, first_frame(scope, Role.HANDLER, len(scope.parameters())))
    return sorted(analysis.found.values())


def _start(analysis: ModuleAnalysis, frame: CallFrame) -> None:
    """Check a function and all that it reaches, unless a handler has led to it."""
    roles = {Role.BODY} if frame.role is Role.BODY else {Role.HANDLER, Role.CHILD}
    if any((frame.scope, role) in analysis.seen for role in roles):
        return
    analysis.enter(frame)
    while analysis.waiting:
        _visit_function(analysis, analysis.waiting.popleft())


def _visit_function(analysis: ModuleAnalysis, frame: CallFrame) -> None:
    visitor = FunctionVisitor(analysis, frame)
    for each in body_of(frame.scope):
        visitor.visit(each)


def _functions(module: Module) -> list[Scope]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [each for each in module.scopes.values() if isinstance(each.node, kinds)]


def _wrapped(analysis: ModuleAnalysis) -> list[Scope]:
    """Return the functions passed to the decorator by a call."""
    return [
        function
        for call, scope in analysis.module.calls
        if call.args and analysis.resolver.sdk_name(call.func, scope) == "durable_execution"
        if (function := analysis.resolver.function_of(call.args[0], scope)) is not None
    ]
