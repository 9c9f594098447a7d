"""The survey of a module: from what is durable, along the calls, until nothing new is reached.

It starts at every handler, step and child that the decorators mark, and at every function that
takes a `DurableContext`. What nothing durable reaches is not looked at.
"""

import ast

from perdure.lint.findings import Finding
from perdure.lint.frames import Frame, first_frame
from perdure.lint.notebook import Notebook
from perdure.lint.operations import Role
from perdure.lint.reach import body_of
from perdure.lint.scopes import Module, Scope
from perdure.lint.walk import Walk


def survey(module: Module) -> list[Finding]:
    """Return everything that is wrong, in the order of the file."""
    notes = Notebook(module)
    marked = {scope: notes.reader.role_of(scope) for scope in _functions(module)}
    marked.update(dict.fromkeys(_wrapped(notes), (Role.HANDLER, 1)))
    for wanted in (Role.HANDLER, Role.CHILD, Role.BODY):
        for scope, role in marked.items():
            if role is not None and role[0] is wanted:
                _start(notes, first_frame(scope, *role))
    for scope, role in marked.items():
        if role is None and notes.reader.takes_context(scope):
            _start(notes, first_frame(scope, Role.HANDLER, len(scope.parameters())))
    return sorted(notes.found.values())


def _start(notes: Notebook, frame: Frame) -> None:
    """Look at a function and all that it reaches, unless a handler has led to it."""
    roles = {Role.BODY} if frame.role is Role.BODY else {Role.HANDLER, Role.CHILD}
    if any((frame.scope, role) in notes.seen for role in roles):
        return
    notes.enter(frame)
    while notes.waiting:
        _look(notes, notes.waiting.popleft())


def _look(notes: Notebook, frame: Frame) -> None:
    walk = Walk(notes, frame)
    for each in body_of(frame.scope):
        walk.visit(each)


def _functions(module: Module) -> list[Scope]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [each for each in module.scopes.values() if isinstance(each.node, kinds)]


def _wrapped(notes: Notebook) -> list[Scope]:
    """Return the functions that are made handlers by calling the decorator."""
    return [
        function
        for call, scope in notes.module.calls
        if call.args and notes.origins.sdk_name(call.func, scope) == "durable_execution"
        if (function := notes.origins.function_of(call.args[0], scope)) is not None
    ]
