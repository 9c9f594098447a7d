"""The attempts of steps whose bodies run in this process, so that a worker can name them.

One table for the process: bodies run on many threads, and each entry is set and removed at once.
"""

from typing import NamedTuple

from perdure.primitives.logger import current_log_fields


class RunningAttempt(NamedTuple):
    """An attempt whose body runs. `title` is as in 'Attempt 1 of step 'charge''."""

    execution_arn: str
    title: str
    at_most_once: bool


_running: dict[object, RunningAttempt] = {}


def body_begins(attempt: object, title: str, *, at_most_once: bool) -> None:
    """Note that a body runs from now on, for the execution that the log fields here name."""
    arn = str(current_log_fields().get("executionArn", ""))
    _running[attempt] = RunningAttempt(arn, title, at_most_once)


def body_ends(attempt: object) -> None:
    """Note that it runs no more."""
    _running.pop(attempt, None)


def running_attempts() -> list[RunningAttempt]:
    """Return those whose bodies run now, in the order of their beginnings."""
    return list(_running.values())
