"""One execution as the testing kit holds it, and the functions that executions are of."""

import inspect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from perdure.context import DurableContext
from perdure.execution import DurableFunction
from perdure.testing.event_forms import public_events
from perdure.testing.failures import Crash
from perdure.testing.history import ExecutionHistory
from perdure_core.events import Record
from perdure_core.identity import ExecutionIdentity, arn_of
from perdure_core.state import State

Handler = DurableFunction | Callable[[Any, DurableContext], Any]


@dataclass(frozen=True)
class PlainFunctionContext:
    """What a plain function of two parameters gets beside its payload."""

    function_name: str
    durable_execution_arn: str


class Family:
    """An execution and all that it invokes. One invocation of them runs at a time, in order.

    A real service runs them side by side, so their events come in an order that nobody can
    foresee; a test is to see the same one each time.
    """

    def __init__(self) -> None:
        self.busy = False
        self.waiting: deque[Execution] = deque()


PlainHandler = Callable[[Any], Any] | Callable[[Any, PlainFunctionContext], Any]


@dataclass
class Execution:
    """The record of one execution, and what only the host knows about it.

    `queued`: an invocation waits for its turn in the family; `running`: it is handed out.
    `problem`: why the test cannot go on with it.
    """

    function: DurableFunction
    identity: ExecutionIdentity
    state: State
    records: list[Record]
    family: Family
    crashes: dict[int, Crash] = field(default_factory=dict[int, Crash])
    invocations: int = 0
    checkpoints: int = 0
    queued: bool = False
    running: bool = False
    problem: BaseException | None = None

    @property
    def arn(self) -> str:
        """What the execution is addressed by."""
        return arn_of(self.identity)

    def history(self) -> ExecutionHistory:
        """Return what people are shown."""
        return ExecutionHistory(
            execution_arn=self.arn,
            function_name=self.identity.function,
            status=self.state.status,
            events=public_events(self.records),
        )


def durable_function(handler: Handler, name: str) -> DurableFunction:
    """Return the function that a handler is; a bare one gets `name`."""
    if isinstance(handler, DurableFunction):
        return handler
    return DurableFunction(handler, name=name)


def plain_function(handler: PlainHandler, name: str) -> DurableFunction:
    """Return a function which calls `handler(event)`, or `handler(event, context)`, once."""
    takes_context = len(inspect.signature(handler).parameters) > 1

    def call(event: Any, context: DurableContext) -> Any:
        if not takes_context:
            return cast("Callable[[Any], Any]", handler)(event)
        own_context = PlainFunctionContext(name, context.execution_context.durable_execution_arn)
        return cast("Callable[[Any, PlainFunctionContext], Any]", handler)(event, own_context)

    return DurableFunction(call, name=name)
