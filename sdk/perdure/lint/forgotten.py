"""What a function makes and never runs: durable calls that are not awaited, steps, coroutines.

Each is silent in Python, and fails at the end of the handler. A value that is kept in a variable
which is read, or is passed on, may be awaited elsewhere: it is left alone.
"""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from perdure.lint.call_frames import CallFrame
from perdure.lint.call_graph import CallGraph
from perdure.lint.name_resolver import NameResolver
from perdure.lint.operations import Reader, Role, own_nodes
from perdure.lint.rules import Rule
from perdure.lint.scopes import Assigned, Scope

# Durable calls that return their value at once, in async handlers too.
_IMMEDIATE: Final = frozenset({"uuid", "random"})
# What coroutines have.
_COROUTINE_METHODS: Final = frozenset({"close", "send", "throw"})
_AWAITABLES: Final = frozenset(
    f"asyncio.{name}"
    for name in ("gather", "create_task", "ensure_future", "wait_for", "sleep", "to_thread")
)
_USES: Final = {
    "durable_step": "context.step",
    "durable_with_child_context": "context.run_in_child_context",
    "durable_wait_for_callback": "context.wait_for_callback",
    "durable_parallel_branch": "context.parallel",
}


class Forgotten(NamedTuple):
    """A call whose value is never run, and the rule that this breaks."""

    call: ast.Call
    rule: Rule
    message: str


class ForgottenCalls:
    """Finds the forgotten calls of one module."""

    def __init__(self, resolver: NameResolver, reader: Reader, call_graph: CallGraph) -> None:
        self._resolver = resolver
        self._reader = reader
        self._call_graph = call_graph

    def made_by(self, node: ast.AST, frame: CallFrame) -> Iterator[Forgotten]:
        """Yield the calls that a node makes and drops, or returns as the result of a body."""
        for value in _dropped(node):
            if frame.replayed and self._is_async_call(value, frame):
                yield _not_awaited(value)
        for value in _unused(node, frame.scope):
            yield from self._unused(value, frame)
        if _is_body(frame):
            for value in _returned(node, frame.scope):
                yield from self._returned(value, frame)

    def _unused(self, value: ast.Call, frame: CallFrame) -> Iterator[Forgotten]:
        if (use := self._use_of(value, frame)) is not None:
            yield _not_run(value, use)
        elif frame.replayed and (
            self._is_async_call(value, frame) or self._is_async_helper(value, frame)
        ):
            yield _not_awaited(value)

    def _returned(self, value: ast.Call, frame: CallFrame) -> Iterator[Forgotten]:
        if (use := self._use_of(value, frame)) is not None:
            yield _not_run(value, use)
        elif self._returns_coroutines(frame) and self._is_coroutine(value, frame):
            text = ast.unparse(value.func)
            message = f"the result is a coroutine, which never runs; write `await {text}(…)`"
            yield Forgotten(value, Rule.COROUTINE_AS_RESULT, message)

    def _use_of(self, call: ast.Call, frame: CallFrame) -> str | None:
        """Return the operation that runs what the call makes, if that must be handed over."""
        function = self._resolver.function_of(call.func, frame.scope)
        if function is None:
            return None
        for decorator in function.decorators:
            name = self._resolver.sdk_name(decorator, function.parent or function)
            if name in _USES:
                return _USES[name]
        return None

    def _is_coroutine(self, call: ast.Call, frame: CallFrame) -> bool:
        return (
            self._is_async_call(call, frame)
            or self._async_function(call, frame.scope) is not None
            or self._resolver.path_of(call.func, frame.scope) in _AWAITABLES
        )

    def _is_async_call(self, call: ast.Call, frame: CallFrame) -> bool:
        """Return whether a call is a durable one on the context of an async function."""
        operation = self._reader.operation(call, frame.scope, frame.contexts)
        if operation is None or operation.name in _IMMEDIATE or not _is_async(frame):
            return False
        owner = self._reader.context_owner(operation.context, frame.scope, frame.contexts)
        own = {scope for scope, _ in frame.contexts}
        return owner in own and isinstance(owner.node, ast.AsyncFunctionDef)

    def _is_async_helper(self, call: ast.Call, frame: CallFrame) -> bool:
        """Return whether a call makes a coroutine of this module that makes durable calls."""
        function = self._async_function(call, frame.scope)
        if function is None or not _is_async(frame):
            return False
        graph = self._call_graph
        passed = graph.contexts_passed(call, frame.scope, frame.contexts, function)
        return graph.durable_function(function, frame.contexts | passed)

    def _async_function(self, call: ast.Call, scope: Scope) -> Scope | None:
        function = self._resolver.function_of(call.func, scope)
        if function is None or not isinstance(function.node, ast.AsyncFunctionDef):
            return None
        nodes = own_nodes(function.node.body)
        generates = any(isinstance(each, ast.Yield | ast.YieldFrom) for each in nodes)
        return None if function.decorators or generates else function

    def _returns_coroutines(self, frame: CallFrame) -> bool:
        """Return whether a coroutine that this body returns is left as it is.

        What an ordinary function returns to an async handler is awaited there.
        """
        match frame.scope.node:
            case ast.AsyncFunctionDef():
                return True
            case ast.FunctionDef():
                return frame.role is Role.HANDLER
            case _:
                return False


def _is_async(frame: CallFrame) -> bool:
    """Return whether all functions on the way here are async, so that the context is too."""
    return isinstance(frame.scope.node, ast.AsyncFunctionDef) and not any(
        isinstance(each.node, ast.FunctionDef) for each in frame.region
    )


def _is_body(frame: CallFrame) -> bool:
    """Return whether Perdure runs this function, and takes what it returns."""
    own = any(owner is frame.scope for owner, _ in frame.contexts)
    return own and frame.inside == frozenset({frame.scope})


def _unused(node: ast.AST, scope: Scope) -> Iterator[ast.Call]:
    """Yield the calls whose values a statement drops, or assigns to a variable never read."""
    match node:
        case ast.Expr(value=value):
            yield from _calls_in(value)
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ) if not _is_read(name, scope):
            yield from _calls_in(value)
        case _:
            pass


def _dropped(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls whose values are used as no coroutine can be: compared, added, indexed."""
    used: list[ast.expr] = []
    match node:
        case ast.If(test=value) | ast.While(test=value) | ast.IfExp(test=value):
            used = [value]
        case ast.UnaryOp(operand=value) | ast.Subscript(value=value):
            used = [value]
        case ast.FormattedValue(value=value):
            used = [value]
        case ast.Attribute(value=value, attr=attr) if attr not in _COROUTINE_METHODS:
            used = [value]
        case ast.Compare(left=left, comparators=others):
            used = [left, *others]
        case ast.BinOp(left=left, right=right):
            used = [left, right]
        case _:
            pass
    yield from (each for each in used if isinstance(each, ast.Call))


def _returned(node: ast.AST, scope: Scope) -> Iterator[ast.Call]:
    """Yield the calls whose values a function returns, as they are, in a container or by name."""
    if isinstance(node, ast.Return):
        value = node.value
    elif isinstance(scope.node, ast.Lambda) and node is scope.node.body:
        value = scope.node.body
    else:
        return
    if isinstance(value, ast.Name):
        bindings = scope.bindings.get(value.id, [])
        match bindings:
            case [Assigned(ast.Call() as call)]:
                yield call
            case _:
                pass
    elif value is not None:
        yield from _calls_in(value)


def _calls_in(value: ast.expr) -> Iterator[ast.Call]:
    match value:
        case ast.Call():
            yield value
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            for each in elements:
                yield from _calls_in(each)
        case ast.ListComp(elt=element) | ast.SetComp(elt=element):
            yield from _calls_in(element)
        case ast.Dict(values=values):
            for each in values:
                yield from _calls_in(each)
        case _:
            pass


def _is_read(name: str, scope: Scope) -> bool:
    """Return whether a variable of a function is read anywhere, or belongs to others."""
    if name in scope.globals | scope.nonlocals or isinstance(scope.node, ast.Module | ast.ClassDef):
        return True
    return any(
        isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load)
        for each in ast.walk(scope.node)
    )


def _not_awaited(call: ast.Call) -> Forgotten:
    text = ast.unparse(call.func)
    message = (
        f"`{text}` is not awaited, so it does not run; write `await {text}(…)`, or gather it with"
        " others"
    )
    return Forgotten(call, Rule.NOT_AWAITED, message)


def _not_run(call: ast.Call, use: str) -> Forgotten:
    text = ast.unparse(call.func)
    message = f"what `{text}(…)` makes never runs; write `{use}({text}(…))`"
    return Forgotten(call, Rule.NEVER_RUN, message)
