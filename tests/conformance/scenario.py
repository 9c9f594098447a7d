"""What an operation comes to, said once for every way of running it.

A scenario is a program, what the outside world does meanwhile, and what must come of it: the end of
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
    """Somebody completes the open callback of this name."""

    callback: str
    result: str


@dataclass(frozen=True)
class Refusal:
    """Somebody completes the open callback of this name as failed."""

    callback: str
    error_type: str
    message: str


@dataclass(frozen=True)
class Heartbeat:
    """Somebody gives a sign of life for the open callback of this name."""

    callback: str


Act = Answer | Refusal | Heartbeat


@dataclass(frozen=True)
class End:
    """How an execution ended. `text` is its result, or the type and message of its error."""

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
    """What comes of a scenario: the end, and the history as `tests.conformance.facts` writes it."""

    end: End
    history: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """A program and what must come of it, in whichever way it is run.

    `world` is done in order, each act as soon as nothing moves but its callback is open.
    `interrupted` may come instead of `expected` when a worker dies in the middle of a step that is
    run at most once. `abandoned` are the places of branches that nobody waits for any more: they
    may have got less far than `expected` says. `meanwhile` are the places of callbacks that are
    open while others go on: they may be completed at any time.
    """

    name: str
    program: Program
    expected: Expected
    world: tuple[Act, ...] = ()
    interrupted: Expected | None = None
    abandoned: tuple[str, ...] = ()
    meanwhile: tuple[str, ...] = ()
    blocking: DurableFunction = field(init=False)
    awaiting: DurableFunction = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocking", blocking_function(self.name, self.program))
        object.__setattr__(self, "awaiting", awaiting_function(self.name, self.program))


def expected(end: End, history: str) -> Expected:
    """Return what must come.

    `history` has one event on each line; a line that begins with a dot goes on with the one before.
    """
    lines = (line.strip() for line in history.strip().splitlines())
    return Expected(end, tuple("\n".join(lines).replace("\n·", " ·").splitlines()))


def scenario(
    end: End,
    history: str,
    *,
    world: tuple[Act, ...] = (),
    interrupted: Expected | None = None,
    abandoned: tuple[str, ...] = (),
    meanwhile: tuple[str, ...] = (),
) -> Callable[[Program], Scenario]:
    """Make a scenario of the program below; it is called as that is."""

    def decorate(program: Program) -> Scenario:
        name = program.__name__.replace("_", "-")
        comes = expected(end, history)
        return Scenario(name, program, comes, world, interrupted, abandoned, meanwhile)

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
