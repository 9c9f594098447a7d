"""Run a handler for one invocation, and say how it ended. This is what a worker imports.

`run_invocation` never raises for anything that a handler does: whatever happens becomes one of five outcomes.
"""

import msgspec
from perdure_core.model import ErrorObject

from perdure.delivery import (
    CheckpointAnswer,
    CheckpointRefused,
    Checkpoints,
    CheckpointUnavailable,
    Invocation,
    InvocationObserver,
    TurnPassed,
)
from perdure.execution import DurableFunction

__all__ = [
    "Broken",
    "CheckpointAnswer",
    "CheckpointRefused",
    "CheckpointUnavailable",
    "Checkpoints",
    "Dropped",
    "Failed",
    "Invocation",
    "InvocationObserver",
    "Outcome",
    "Pending",
    "Succeeded",
    "TurnPassed",
    "run_invocation",
]


class Succeeded(msgspec.Struct, frozen=True):
    """The handler returned; `result` is its value as JSON. The execution succeeds."""

    result: str | None


class Failed(msgspec.Struct, frozen=True):
    """The handler raised, or the execution cannot go on. The execution fails."""

    error: ErrorObject


class Pending(msgspec.Struct, frozen=True):
    """The handler waits for something; the execution will be delivered again."""


class Broken(msgspec.Struct, frozen=True):
    """The invocation, not the execution, went wrong; it is to be run again."""

    error: ErrorObject


class Dropped(msgspec.Struct, frozen=True):
    """The turn has passed to somebody else; there is nothing to report."""


Outcome = Succeeded | Failed | Pending | Broken | Dropped


def run_invocation(
    function: DurableFunction,
    invocation: Invocation,
    checkpoints: Checkpoints,
    *,
    observer: InvocationObserver | None = None,
) -> Outcome:
    """Run the handler against what is recorded; block until it returns, raises or suspends."""
    raise NotImplementedError
