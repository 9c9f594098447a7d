"""State of the analysis of one module: its findings, and the functions still to check."""

import ast
from collections import deque
from dataclasses import dataclass, field

from perdure.lint.call_frames import CallFrame
from perdure.lint.call_graph import CallGraph
from perdure.lint.conditions import Conditions
from perdure.lint.findings import Finding
from perdure.lint.forgotten import ForgottenCalls
from perdure.lint.mutations import Mutations
from perdure.lint.name_resolver import NameResolver
from perdure.lint.operations import Reader
from perdure.lint.rules import Rule
from perdure.lint.scopes import Module
from perdure.lint.suspension import Suspension


@dataclass
class ModuleAnalysis:
    """The analysis of one module; `waiting` holds the frames still to check."""

    module: Module
    found: dict[tuple[int, int, Rule], Finding] = field(
        default_factory=dict[tuple[int, int, Rule], Finding]
    )
    waiting: deque[CallFrame] = field(default_factory=deque[CallFrame])
    seen: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])

    def __post_init__(self) -> None:
        self._lines = self.module.text.split("\n")
        self.resolver = NameResolver(self.module)
        self.reader = Reader(self.resolver)
        self.call_graph = CallGraph(self.resolver, self.reader)
        self.mutations = Mutations(self.resolver, self.reader)
        self.conditions = Conditions(self.resolver, self.reader)
        self.suspension = Suspension(self.resolver)
        self.forgotten = ForgottenCalls(self.resolver, self.reader, self.call_graph)

    def enter(self, frame: CallFrame) -> None:
        """Queue a function to be checked, unless it was queued with the same key."""
        if frame.key not in self.seen:
            self.seen.update({frame.key, (frame.scope, frame.role)})
            self.waiting.append(frame)

    def report(self, node: ast.AST, rule: Rule, message: str, frame: CallFrame) -> None:
        """Add a finding; of several call chains to one position, the first counts."""
        line = getattr(node, "lineno", 1)
        column = self._column(line, getattr(node, "col_offset", 0))
        line_end = getattr(node, "end_lineno", line) if isinstance(node, ast.expr) else line
        finding = Finding(
            self.module.path,
            line,
            column,
            rule,
            message,
            frame.chain,
            line_end,
            self._lines[line - 1],
        )
        self.found.setdefault((line, column, rule), finding)

    def _column(self, line: int, offset: int) -> int:
        """Return the column in characters; the parser counts bytes."""
        prefix = self._lines[line - 1].encode()[:offset]
        return len(prefix.decode(errors="replace")) + 1
