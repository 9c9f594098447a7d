"""Executions of the testing kit, and functions made of handlers."""

import functools
import inspect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from perdure.context.durable_context import DurableContext
from perdure.functions.durable import DurableFunction
from perdure.functions.plain import PlainContext, PlainFunction
from perdure.primitives.bound_function import matching_kind
from perdure.testing.event_documents import event_documents
from perdure.testing.failures import Crash
from perdure.testing.history import ExecutionHistory
from perdure.worker_api import FunctionSettings, RegisteredFunction
from perdure_core.events import Record
from perdure_core.identity import ExecutionIdentity, arn_of
from perdure_core.state import State

DurableHandler = DurableFunction | Callable[[Any, DurableContext], Any]
PlainHandler = PlainFunction | Callable[[Any], Any] | Callable[[Any, PlainContext], Any]
Handler = DurableHandler | PlainFunction


class ExecutionTree:
    """An execution and all that it invokes. One invocation of them runs at a time, in order.

    A real service runs them concurrently, so the order of their events is unpredictable; in a test
    it is the same each time.
    """

    def __init__(self) -> None:
        self.busy = False
        self.waiting: deque[Execution] = deque()


@dataclass
class Execution:
    """The record of one execution, and its state in the testing kit.

    `queued`: an invocation waits for its turn in the tree; `running`: it is handed out.
    `problem`: why the test cannot continue with it. `on_lost` notifies the invocation that the
    execution has ended without it.
    """

    function: RegisteredFunction
    identity: ExecutionIdentity
    state: State
    records: list[Record]
    tree: ExecutionTree
    crashes: dict[int, Crash] = field(default_factory=dict[int, Crash])
    invocations: int = 0
    checkpoints: int = 0
    queued: bool = False
    running: bool = False
    problem: BaseException | None = None
    on_lost: Callable[[], None] | None = None

    @property
    def arn(self) -> str:
        """The ARN of the execution."""
        return arn_of(self.identity)

    def history(self) -> ExecutionHistory:
        """Return the public history."""
        return ExecutionHistory(
            execution_arn=self.arn,
            function_name=self.identity.function,
            status=self.state.status,
            events=event_documents(self.records),
        )


def durable_function(handler: DurableHandler, name: str) -> DurableFunction:
    """Return the durable function of a handler; an undecorated one gets `name`."""
    if isinstance(handler, DurableFunction):
        return handler
    return DurableFunction(handler, FunctionSettings(name))


def function_of(handler: Handler, name: str) -> DurableFunction | PlainFunction:
    """Return the function of a handler; an undecorated one is durable, and gets `name`."""
    return handler if isinstance(handler, PlainFunction) else durable_function(handler, name)


def named(
    function: DurableFunction | PlainFunction,
    name: str,
    *,
    execution_timeout_s: int | None = None,
    retention_days: int | None = None,
) -> DurableFunction | PlainFunction:
    """Return the same function under another name."""
    settings = msgspec.structs.replace(
        function.settings,
        name=name,
        execution_timeout_s=execution_timeout_s or function.settings.execution_timeout_s,
        retention_days=retention_days or function.settings.retention_days,
    )
    if isinstance(function, DurableFunction):
        return DurableFunction(function.handler, settings, plugins=function.plugins)
    return PlainFunction(function.handler, settings)


def plain_function(handler: PlainHandler, name: str) -> DurableFunction | PlainFunction:
    """Return the plain function `name` of a handler `(event, context)`, or `(event)` alone."""
    if isinstance(handler, PlainFunction):
        return named(handler, name)
    if len(inspect.signature(handler).parameters) > 1:
        with_context = cast("Callable[[Any, PlainContext], Any]", handler)
        return PlainFunction(with_context, FunctionSettings(name))
    without_context = cast("Callable[[Any], Any]", handler)

    @functools.wraps(without_context)
    def call(event: Any, _context: PlainContext) -> Any:
        return without_context(event)

    return PlainFunction(matching_kind(without_context, call), FunctionSettings(name))
