"""Async programs as blocking ones, so that scenarios are written once.

A program that awaits only durable calls does not need an event loop: over a context whose calls
block, each await is over at once, and the program runs from its start to its end as an ordinary
function does, on the same thread.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from perdure import DurableContext, ParallelBranch, WithRetryConfig
from perdure.config import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
)
from perdure.context import Callback, DurableWait
from perdure.context.decorators import as_branches
from perdure.waits import WaitForConditionConfig


def as_blocking(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return `func`, if it is a coroutine function, as one that blocks."""
    if not inspect.iscoroutinefunction(func):
        return func

    @functools.wraps(func)
    def call(*arguments: Any) -> Any:
        return _to_the_end(func(*(_dressed(argument) for argument in arguments)))

    return call


class BlockingContext:
    """A `DurableContext` with the methods of an async one: each call blocks until it is done."""

    def __init__(self, context: DurableContext) -> None:
        self._context = context
        self.logger = context.logger

    @property
    def is_virtual(self) -> bool:
        return self._context.is_virtual

    async def step(
        self, func: Callable[..., Any], name: str | None = None, config: StepConfig | None = None
    ) -> Any:
        return self._context.step(as_blocking(func), name, config)

    async def now(self, name: str | None = None) -> datetime:
        return self._context.now(name)

    def uuid(self) -> UUID:
        return self._context.uuid()

    def random(self) -> Random:
        return self._context.random()

    async def wait(self, duration: Duration, name: str | None = None) -> None:
        self._context.wait(duration, name)

    async def create_wait(self, duration: Duration, name: str | None = None) -> "BlockingWait":
        return BlockingWait(self._context.create_wait(duration, name))

    async def create_callback(
        self, name: str | None = None, config: CallbackConfig | None = None
    ) -> "BlockingCallback":
        return BlockingCallback(self._context.create_callback(name, config))

    async def wait_for_callback(
        self,
        submitter: Callable[..., Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Any:
        return self._context.wait_for_callback(as_blocking(submitter), name, config)

    async def wait_for_condition(
        self,
        check: Callable[..., Any],
        config: WaitForConditionConfig[Any],
        name: str | None = None,
    ) -> Any:
        return self._context.wait_for_condition(as_blocking(check), config, name)

    async def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None = None,
        config: InvokeConfig[Any, Any] | None = None,
    ) -> Any:
        return self._context.invoke(function_name, payload, name, config)

    async def run_in_child_context(
        self,
        func: Callable[..., Any],
        name: str | None = None,
        config: ChildConfig[Any] | None = None,
    ) -> Any:
        return self._context.run_in_child_context(as_blocking(func), name, config)

    async def map(
        self,
        inputs: Sequence[Any],
        func: Callable[..., Any],
        name: str | None = None,
        config: MapConfig[Any] | None = None,
    ) -> Any:
        return self._context.map(inputs, as_blocking(func), name, config)

    async def parallel(
        self,
        functions: Sequence[Any],
        name: str | None = None,
        config: ParallelConfig | None = None,
    ) -> Any:
        return self._context.parallel([_branch(each) for each in functions], name, config)

    async def race(
        self, branches: Sequence[Any], name: str | None = None, config: BranchesConfig | None = None
    ) -> Any:
        return self._context.race([_branch(each) for each in branches], name, config)

    async def any_of(
        self, branches: Sequence[Any], name: str | None = None, config: BranchesConfig | None = None
    ) -> Any:
        return self._context.any_of([_branch(each) for each in branches], name, config)

    async def all_of(
        self, branches: Sequence[Any], name: str | None = None, config: BranchesConfig | None = None
    ) -> Any:
        return self._context.all_of([_branch(each) for each in branches], name, config)

    async def perform_with_retry(
        self, func: Callable[..., Any], config: WithRetryConfig[Any], name: str | None = None
    ) -> Any:
        return self._context.perform_with_retry(as_blocking(func), config, name)


class BlockingCallback:
    """A `Callback` with the methods of an async one."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self.callback_id = callback.callback_id

    async def result(self) -> Any:
        return self._callback.result()


class BlockingWait:
    """A `DurableWait` with the methods of an async one."""

    def __init__(self, wait: DurableWait) -> None:
        self._wait = wait

    async def result(self) -> None:
        self._wait.result()

    async def cancel(self) -> bool:
        return self._wait.cancel()


def _branch(function: Any) -> ParallelBranch[Any]:
    (branch,) = as_branches([function])
    return ParallelBranch(as_blocking(branch.func), branch.name)


def _dressed(argument: Any) -> Any:
    return BlockingContext(argument) if isinstance(argument, DurableContext) else argument


def _to_the_end(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the program awaits something else than a durable call")
