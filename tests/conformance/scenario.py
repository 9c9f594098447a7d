"""Scenarios of the conformance tests: written once, run in every mode.

A scenario is a program, the acts of outsiders while it runs, and the expected outcome: the end of
the execution and all of its history. The program is written as an async handler would be; blocking
handlers run the same program, see `tests.conformance.blocking`.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.worker_api import FunctionSettings
from tests.conformance.blocking import as_blocking

Program = Callable[[AsyncDurableContext], Awaitable[Any]]


@dataclass(frozen=True)
class Answer:
    """An outsider completes the open callback of this name."""

    callback: str
    result: str


@dataclass(frozen=True)
class Refusal:
    """An outsider fails the open callback of this name."""

    callback: str
    error_type: str
    message: str


@dataclass(frozen=True)
class Heartbeat:
    """An outsider sends a heartbeat for the open callback of this name."""

    callback: str


Act = Answer | Refusal | Heartbeat


@dataclass(frozen=True)
class End:
    """The end of an execution. `text` is its result, or the type and message of its error."""

    status: str
    text: str | None

    @classmethod
    def succeeded(cls, value: Any) -> "End":
        """Return the end of a handler that returned `value`."""
        return cls("SUCCEEDED", json.dumps(value))

    @classmethod
    def failed(cls, error_type: str | None, message: str | None) -> "End":
        """Return the end of a handler that raised."""
        return cls("FAILED", f"{error_type}: {message}")


@dataclass(frozen=True)
class Expected:
    """The outcome of a scenario: end and history, as written by `tests.conformance.facts`."""

    end: End
    history: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """A program and its expected outcome, in every mode.

    `acts` are done in order, each as soon as the execution is idle and its callback is open.
    `interrupted` may be the outcome instead of `expected` when a worker dies in the middle of a
    step that is run at most once. `abandoned` are the places of branches whose results are no
    longer awaited: they may have got less far than in `expected`. `meanwhile` are the places of
    callbacks that are open while others go on: they can be completed at any time.
    """

    name: str
    program: Program
    expected: Expected
    acts: tuple[Act, ...] = ()
    interrupted: Expected | None = None
    abandoned: tuple[str, ...] = ()
    meanwhile: tuple[str, ...] = ()
    blocking: DurableFunction = field(init=False)
    awaiting: DurableFunction = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocking", blocking_function(self.name, self.program))
        object.__setattr__(self, "awaiting", awaiting_function(self.name, self.program))


def expected(end: End, history: str) -> Expected:
    """Return the expected outcome.

    `history` has one event on each line; a line that begins with a dot continues the one before.
    """
    lines = (line.strip() for line in history.strip().splitlines())
    return Expected(end, tuple("\n".join(lines).replace("\n·", " ·").splitlines()))


def scenario(
    end: End,
    history: str,
    *,
    acts: tuple[Act, ...] = (),
    interrupted: Expected | None = None,
    abandoned: tuple[str, ...] = (),
    meanwhile: tuple[str, ...] = (),
) -> Callable[[Program], Scenario]:
    """Make a scenario of the decorated program, under the program's name."""

    def decorate(program: Program) -> Scenario:
        name = program.__name__.replace("_", "-")
        comes = expected(end, history)
        return Scenario(name, program, comes, acts, interrupted, abandoned, meanwhile)

    return decorate


def blocking_function(name: str, program: Program) -> DurableFunction:
    """Return the blocking handler."""

    def handle(_event: Any, context: DurableContext) -> Any:
        return as_blocking(program)(context)

    return DurableFunction(handle, FunctionSettings(f"{name}-blocking"))


def awaiting_function(name: str, program: Program) -> DurableFunction:
    """Return the async handler."""

    async def handle(_event: Any, context: AsyncDurableContext) -> Any:
        return await program(context)

    return DurableFunction(handle, FunctionSettings(f"{name}-awaiting"))
