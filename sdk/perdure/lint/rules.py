"""Rules of the check, by codes that never change: suppressions and pipelines rely on them.

PRD0xx is about suppressions themselves, PRD1xx about nondeterminism of handlers, PRD2xx about the
use of contexts. docs/determinism.md shows a wrong and a right example of each.
"""

from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """A rule, by its code."""

    UNUSED_SUPPRESSION = "PRD001"
    CLOCK = "PRD101"
    CHANCE = "PRD102"
    ENVIRONMENT = "PRD103"
    IO = "PRD104"
    SLEEP = "PRD105"
    THREAD = "PRD106"
    SET_ORDER = "PRD107"
    GLOBAL_CHANGE = "PRD108"
    DURABLE_CALL_IN_STEP = "PRD201"
    CHANGE_LOST_ON_REPLAY = "PRD202"
    FOREIGN_CONTEXT = "PRD203"
    SUSPENSION_SWALLOWED = "PRD204"
    UNSTABLE_CONDITION = "PRD205"
    CONTEXT_ESCAPES = "PRD206"
    NOT_AWAITED = "PRD207"
    NEVER_RUN = "PRD208"
    COROUTINE_AS_RESULT = "PRD209"


TITLES: Final[dict[Rule, str]] = {
    Rule.UNUSED_SUPPRESSION: "a suppression that suppresses nothing",
    Rule.CLOCK: "the clock read outside a step",
    Rule.CHANCE: "chance outside a step",
    Rule.ENVIRONMENT: "the environment read outside a step",
    Rule.IO: "input or output outside a step",
    Rule.SLEEP: "sleeping instead of waiting",
    Rule.THREAD: "threads or tasks started by the handler",
    Rule.SET_ORDER: "the order of a set",
    Rule.GLOBAL_CHANGE: "a global changed outside a step",
    Rule.DURABLE_CALL_IN_STEP: "a durable call inside a step",
    Rule.CHANGE_LOST_ON_REPLAY: "a variable of the handler changed inside a step or child",
    Rule.FOREIGN_CONTEXT: "the parent's context used inside a child",
    Rule.SUSPENSION_SWALLOWED: "a suspension swallowed",
    Rule.UNSTABLE_CONDITION: "a durable call that depends on what may differ",
    Rule.CONTEXT_ESCAPES: "a context that leaves its handler or its thread",
    Rule.NOT_AWAITED: "a durable call that is not awaited",
    Rule.NEVER_RUN: "a step that is made and never run",
    Rule.COROUTINE_AS_RESULT: "a coroutine as a result",
}

ADVICE: Final[dict[Rule, str]] = {
    Rule.CLOCK: "reads the clock, which a replay finds elsewhere; use the context's now(), or "
    "read it in a step",
    Rule.CHANCE: "differs on every replay; use the context's uuid() or random(), or call it in a "
    "step",
    Rule.ENVIRONMENT: "may differ on the worker that replays; read it in a step",
    Rule.IO: "is done again on every replay, and may answer differently; do it in a step",
    Rule.SLEEP: "holds the worker, and sleeps again on every replay; use the context's wait",
    Rule.THREAD: "runs beside the replay in no fixed order; use the context's map or "
    "parallel, or do it in a step",
}

CHANGES: Final[dict[Rule, str]] = {
    Rule.GLOBAL_CHANGE: "outlives this execution, and changes again on every replay; keep state in "
    "local variables, or change it in a step",
    Rule.CHANGE_LOST_ON_REPLAY: "is changed inside a step or child, which a replay does not run "
    "again: the change is lost; return the value instead",
    Rule.CONTEXT_ESCAPES: "outlives this invocation, and the context is stored in it; pass the "
    "context as an argument",
}
