"""What a worker that stops tells of it: how much time is left, and what was not finished."""

from collections.abc import Iterable, Sequence
from typing import Final

from perdure.worker_api import RunningAttempt

GRACE_S_DEFAULT: Final = 10.0
# A day. What takes longer belongs into several steps.
GRACE_S_MAX: Final = 86_400.0
# Told when so many seconds are left.
_TOLD_S: Final = (21_600.0, 3_600.0, 1_800.0, 600.0, 300.0, 120.0, 60.0, 30.0, 10.0, 5.0, 2.0)
# The most attempts that are named one by one.
NAMED_MAX: Final = 20


def countdown_s(grace_s: float) -> list[float]:
    """Return when to tell how much time is left, as seconds that are left, the last being 0."""
    return [*(left for left in _TOLD_S if left < grace_s), 0.0]


def unfinished_lines(arns: Sequence[str], attempts: Iterable[RunningAttempt]) -> list[str]:
    """Return a line for each attempt that was under way in executions that are handed back."""
    handed_back = frozenset(arns)
    unfinished = [each for each in attempts if each.execution_arn in handed_back]
    lines = [_line(each) for each in unfinished[:NAMED_MAX]]
    if len(unfinished) > NAMED_MAX:
        lines.append(f"and {len(unfinished) - NAMED_MAX:,} more attempts of steps")
    return lines


def _line(attempt: RunningAttempt) -> str:
    what = (
        "is recorded as interrupted: its retries decide" if attempt.at_most_once else "runs again"
    )
    return f"{attempt.execution_arn}: handed back; {attempt.title} was under way and {what}"
