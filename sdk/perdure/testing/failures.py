"""Errors of a test itself, and the crashes that a test requests."""

from collections.abc import Iterable

import msgspec


class DurableFunctionsTestError(Exception):
    """The test used something that does not exist, or waits for what can never happen."""


class Crash(msgspec.Struct, frozen=True):
    """Lose the worker at the n-th checkpoint of an execution, counted from 1.

    `accepted`: right after the service accepted it, so that the worker never receives the
    answer; otherwise right before, so that nothing of it is recorded.
    """

    checkpoint: int
    accepted: bool = True


CrashAt = int | Crash | Iterable[int | Crash]


def crash_plan(crash_at: CrashAt) -> dict[int, Crash]:
    """Return the crashes by checkpoint; a number alone means that the checkpoint is accepted.

    Raises `DurableFunctionsTestError` for numbers below 1, and for two crashes at one checkpoint.
    """
    several = [crash_at] if isinstance(crash_at, int | Crash) else list(crash_at)
    crashes = [Crash(each) if isinstance(each, int) else each for each in several]
    plan = {crash.checkpoint: crash for crash in crashes}
    if len(plan) != len(crashes) or any(number < 1 for number in plan):
        raise DurableFunctionsTestError(
            f"crash_at must name different checkpoints, counted from 1; got {crash_at!r}."
        )
    return plan
