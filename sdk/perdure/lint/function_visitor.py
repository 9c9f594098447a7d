"""Visitor of one function, which applies all rules.

Functions that handler code calls are handler code; functions that an operation runs are bodies or
children. The visitor queues each of them to be checked. Functions that are only defined are not.
"""

import ast

from perdure.lint.call_frames import CallFrame
from perdure.lint.module_analysis import ModuleAnalysis
from perdure.lint.mutations import Mutation
from perdure.lint.nondeterminism import ENVIRONMENT_OBJECTS, HANDOVERS, rule_broken_by
from perdure.lint.operations import (
    OPERATIONS,
    Contexts,
    Operation,
    argument,
    compared_identities,
)
from perdure.lint.rules import ADVICE, CHANGES, Rule
from perdure.lint.scopes import Imported
from perdure.lint.set_order import SetOrder

_HIGHER_ORDER_FUNCTIONS = frozenset(
    {
        *(f"builtins.{name}" for name in ("map", "filter", "sorted", "min", "max")),
        *("functools.reduce", "itertools.groupby", "itertools.takewhile", "itertools.starmap"),
    }
)


class FunctionVisitor(ast.NodeVisitor):
    """Visits one function in one call frame."""

    def __init__(self, analysis: ModuleAnalysis, frame: CallFrame) -> None:
        self._analysis = analysis
        self._frame = frame
        self._scope = frame.scope
        self._order = SetOrder(analysis.resolver)
        self._identities = set[ast.AST]()

    def visit(self, node: ast.AST) -> None:
        self._identities.update(compared_identities(node))
        for mutation in self._analysis.mutations.made_by(node, self._frame):
            self._report_mutation(mutation)
        for call, rule, message in self._analysis.forgotten.made_by(node, self._frame):
            self._report(call, rule, message)
        if self._frame.replayed:
            for unordered in self._order.escapes(node, self._scope):
                self._report_order(unordered)
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_defaults(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_defaults(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_defaults(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Skip classes: methods are checked when they are called."""

    def visit_Call(self, node: ast.Call) -> None:
        operation = self._analysis.reader.operation(node, self._scope, self._frame.contexts)
        if operation is not None:
            self._operate(node, operation)
        else:
            self._check_source(node)
            self._enter_called(node)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "item_namer":
            self._enter_argument(node.value)
        self.visit(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._analysis.resolver.path_of(node, self._scope) in ENVIRONMENT_OBJECTS:
            self._report_environment(node)
        else:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        found = self._scope.find(node.id)
        for binding in found[1] if found else []:
            if isinstance(binding, Imported) and binding.dotted in ENVIRONMENT_OBJECTS:
                self._report_environment(node)

    def visit_If(self, node: ast.If) -> None:
        self._check_condition(node.test, [*node.body, *node.orelse])
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._check_condition(node.test, node.body)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._check_condition(node.iter, node.body)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._check_condition(node.test, [ast.Expr(node.body), ast.Expr(node.orelse)])
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        self._check_condition(
            node.subject, [statement for case in node.cases for statement in case.body]
        )
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        self._check_try(node)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self._check_try(node)

    def visit_With(self, node: ast.With) -> None:
        self._check_with(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._check_with(node)

    def _operate(self, call: ast.Call, operation: Operation) -> None:
        if not self._frame.replayed:
            message = (
                f"`{operation.name}` is a durable call inside a step, which cannot hold others; "
                "return from the step first, or make it a child context"
            )
            self._report(call, Rule.DURABLE_CALL_IN_STEP, message)
            return
        if operation.name not in ("result", "cancel"):
            self._check_foreign(operation.context, f"`{ast.unparse(operation.context)}.", operation)
        runs = OPERATIONS.get(operation.name)
        runnable = argument(call, runs.position, runs.keyword) if runs else None
        if runs is None or runnable is None:
            return
        for function in self._analysis.reader.code(runnable, self._scope):
            marked = self._analysis.reader.role_of(function)
            position = marked[1] if marked else runs.context_position
            frame = self._frame.operated(function, runs.role, position)
            if operation.name == "with_retry" and not self._has_own_context(call):
                frame = self._frame.called(function, frame.contexts)
            self._analysis.enter(frame)

    def _has_own_context(self, call: ast.Call) -> bool:
        """Return whether `with_retry` certainly runs its block in a child context."""
        config = argument(call, 2, "config")
        if not isinstance(config, ast.Call):
            return False
        return not any(each.arg == "wrap_with_run_in_child_context" for each in config.keywords)

    def _check_foreign(self, context: ast.expr, prefix: str, operation: Operation | None) -> None:
        owner = self._analysis.reader.context_owner(context, self._scope, self._frame.contexts)
        frame = self._frame
        if owner is None or owner.within(frame.inside) or not owner.within(frame.region):
            return
        use = f"{prefix}{operation.name}`" if operation else f"{prefix}`"
        message = (
            f"{use} uses the context of `{owner.name}` inside a child, which is refused when it "
            "runs; use the context that the child is given"
        )
        self._report(context, Rule.FOREIGN_CONTEXT, message)

    def _check_source(self, call: ast.Call) -> None:
        origin = self._analysis.resolver.path_of(call.func, self._scope)
        if origin is None or not self._frame.replayed:
            return
        if origin == "builtins.id" and call in self._identities:
            return
        resolver, scope = self._analysis.resolver, self._scope
        rule = rule_broken_by(origin, call, lambda each: resolver.path_of(each, scope))
        if rule is not None:
            self._report(call, rule, f"{_call_text(call.func, origin)} {ADVICE[rule]}")
        if origin in HANDOVERS:
            self._check_handover(call)
        if origin in _HIGHER_ORDER_FUNCTIONS:
            for value in (*call.args, *(each.value for each in call.keywords)):
                self._enter_argument(value)

    def _check_handover(self, call: ast.Call) -> None:
        analysis, contexts = self._analysis, self._frame.contexts
        values = [*call.args, *(each.value for each in call.keywords)]
        parts = [part for each in values for part in _parts(each)]
        functions = (analysis.resolver.function_of(each, self._scope) for each in values)
        if any(analysis.reader.is_context(each, self._scope, contexts) for each in parts) or any(
            each is not None and analysis.call_graph.durable_function(each, contexts)
            for each in functions
        ):
            message = (
                "the context is used from another thread, where its calls come in no fixed order; "
                "use the context's map or parallel"
            )
            self._report(call, Rule.CONTEXT_ESCAPES, message)

    def _enter_called(self, call: ast.Call) -> None:
        call_graph, contexts = self._analysis.call_graph, self._frame.contexts
        for target in call_graph.called(call, self._scope):
            passed: Contexts = call_graph.contexts_passed(call, self._scope, contexts, target)
            if passed and self._frame.replayed:
                for each in (*call.args, *(keyword.value for keyword in call.keywords)):
                    self._check_foreign(each, f"giving `{ast.unparse(each)}", None)
            self._analysis.enter(self._frame.called(target, passed))

    def _enter_argument(self, expression: ast.expr) -> None:
        function = self._analysis.resolver.function_of(expression, self._scope)
        if function is not None and self._analysis.reader.role_of(function) is None:
            self._analysis.enter(self._frame.called(function, frozenset()))

    def _check_condition(self, test: ast.expr, nodes: list[ast.stmt]) -> None:
        if not self._frame.replayed:
            return
        cause = self._analysis.conditions.cause(test, self._frame)
        if cause is not None and self._is_durable(nodes):
            message = (
                f"{cause}, and a durable call depends on it here; decide by what a step returned, "
                "or by the input"
            )
            self._report(test, Rule.UNSTABLE_CONDITION, message)

    def _check_try(self, node: ast.Try | ast.TryStar) -> None:
        if self._frame.replayed and self._is_durable(node.body):
            for each in self._analysis.suspension.swallowed_by(node, self._scope):
                self._report_swallowed(each)
        self.generic_visit(node)

    def _check_with(self, node: ast.With | ast.AsyncWith) -> None:
        if self._frame.replayed and self._is_durable(node.body):
            for each in self._analysis.suspension.suppressed_by(node, self._scope):
                self._report_swallowed(each)
        self.generic_visit(node)

    def _is_durable(self, nodes: list[ast.stmt]) -> bool:
        return self._analysis.call_graph.durable(nodes, self._scope, self._frame.contexts)

    def _visit_defaults(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        for each in (*node.args.defaults, *node.args.kw_defaults):
            if each is not None:
                self.visit(each)

    def _report(self, node: ast.AST, rule: Rule, message: str) -> None:
        self._analysis.report(node, rule, message, self._frame)

    def _report_mutation(self, mutation: Mutation) -> None:
        self._report(
            mutation.node, mutation.rule, f"`{mutation.variable}` {CHANGES[mutation.rule]}"
        )

    def _report_order(self, unordered: ast.expr) -> None:
        message = (
            f"the order of the set `{ast.unparse(unordered)}` differs between processes; "
            "sort it first"
        )
        self._report(unordered, Rule.SET_ORDER, message)

    def _report_environment(self, node: ast.expr) -> None:
        if self._frame.replayed:
            message = f"`{ast.unparse(node)}` {ADVICE[Rule.ENVIRONMENT]}"
            self._report(node, Rule.ENVIRONMENT, message)

    def _report_swallowed(self, node: ast.AST) -> None:
        message = (
            "this swallows the suspension of a durable call, and the handler goes on without its "
            "result; catch `Exception`, or raise it again"
        )
        self._report(node, Rule.SUSPENSION_SWALLOWED, message)


def _call_text(function: ast.expr, origin: str) -> str:
    written = ast.unparse(function)
    path = origin.removeprefix("builtins.")
    same = written == path or "()" in path
    return f"`{written}`" if same else f"`{written}` ({path})"


def _parts(expression: ast.expr) -> list[ast.expr]:
    match expression:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return elements
        case ast.Dict(values=values):
            return values
        case _:
            return [expression]
