"""What goes wrong with a test itself, and where a worker is to die."""

from collections.abc import Iterable

import msgspec


class DurableFunctionsTestError(Exception):
    """The test asked for something that is not there, or waits for what can never happen."""


class Crash(msgspec.Struct, frozen=True):
    """Lose the worker at the n-th checkpoint of an execution, counted from 1.

    `accepted`: right after the service accepted it, so that the worker never hears the answer;
    otherwise right before, so that nothing of it is recorded.
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
            f"Crashes are at different checkpoints, counted from 1: {crash_at!r}."
        )
    return plan
