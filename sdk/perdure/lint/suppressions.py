"""Suppressions of findings: comments `# perdure: ignore[PRD101]`.

A comment applies to its own line; alone on a line, to the next one. Each names its rules, and one
that suppresses nothing is a finding itself, so that none outlives its reason.
"""

import io
import re
import tokenize
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from perdure.lint.findings import Finding
from perdure.lint.rules import Rule

_COMMENT: Final = re.compile(r"#\s*perdure:\s*ignore(?:\[(?P<rules>[^\]]*)\])?")


@dataclass(frozen=True)
class Suppression:
    """One rule suppressed on one line; `rule` is the text, whether or not it is a rule."""

    rule: str
    line: int
    written_line: int
    written_column: int
    source: str


def read_suppressions(text: str) -> list[Suppression]:
    """Return the suppressions in the comments of a file."""
    found: list[Suppression] = []
    for token in tokenize.generate_tokens(io.StringIO(text, newline="\n").readline):
        match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        line, column = token.start
        alone = not token.line[:column].strip()
        rules = [each.strip() for each in (match["rules"] or "").split(",")]
        found.extend(
            Suppression(
                rule, line + 1 if alone else line, line, column + 1, token.line.rstrip("\n")
            )
            for rule in rules
        )
    return found


def suppress(
    path: str, findings: list[Finding], suppressions: list[Suppression], ignored: Collection[Rule]
) -> list[Finding]:
    """Return the remaining findings, and one for each suppression that suppresses nothing."""
    used = {each for each in suppressions if any(_covers(each, finding) for finding in findings)}
    remaining = [
        finding for finding in findings if not any(_covers(each, finding) for each in suppressions)
    ]
    unused = [each for each in suppressions if each not in used and each.rule not in ignored]
    return sorted([*remaining, *_unused_findings(path, unused)])


def _covers(suppression: Suppression, finding: Finding) -> bool:
    return suppression.rule == finding.rule and suppression.line in {finding.line, finding.line_end}


def _unused_findings(path: str, unused: list[Suppression]) -> Iterator[Finding]:
    for each in unused:
        if not each.rule:
            message = "this suppression names no rule; write ignore[PRD101], say"
        elif each.rule not in set(Rule):
            message = f"there is no rule {each.rule}; see docs/determinism.md"
        else:
            message = f"{each.rule} finds nothing here; remove this suppression"
        yield Finding(
            path,
            each.written_line,
            each.written_column,
            Rule.UNUSED_SUPPRESSION,
            message,
            (),
            each.written_line,
            each.source,
        )
