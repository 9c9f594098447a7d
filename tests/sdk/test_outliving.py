"""Threads and tasks that outlive their invocation record nothing more, and hear so."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

import pytest

from perdure import DurableContext, StepContext
from perdure.config import Duration
from perdure.context.async_context import AsyncDurableContext
from perdure.drivers import tasks
from perdure.exceptions import (
    InvalidStateError,
    OrphanedChildException,
    StepCancelledError,
    SuspendExecution,
)
from perdure.worker_api import Failed, Outcome, Pending, Succeeded
from perdure_core import commands
from tests.sdk.hosted import Hosted, async_handler, handler, hosted_async

AN_HOUR: Final = Duration.from_hours(1)


def work(_step: StepContext) -> str:
    return "done"


def in_branch(_context: Any, *_item: Any) -> int:
    return 1


CALLS: dict[str, Callable[[Any], Any]] = {
    "step": lambda context: context.step(work),
    "wait": lambda context: context.wait(AN_HOUR),
    "child": lambda context: context.run_in_child_context(in_branch),
    "map": lambda context: context.map([1], in_branch),
    "uuid": lambda context: context.uuid(),
}


class Thread:
    """A thread of the user, in each of its forms, which makes durable calls after its `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[Any] | None = None

    def start(self, func: Callable[[], Any], *, copied: bool = False) -> None:
        """Start it: with the context variables of its starter, as `to_thread` does, or without."""

        def body() -> Any:
            self.gate.wait(60)
            return func()

        if self._future is None:
            variables = copy_context()
            self._future = self._pool.submit(lambda: variables.run(body) if copied else body())

    def raised(self) -> BaseException | None:
        """Let it go on; return what it meets."""
        self.gate.set()
        assert self._future is not None
        error = self._future.exception(60)
        self._pool.shutdown()
        return error


def return_at_once(context: DurableContext) -> str:
    return context.step(work)


def wait_long(context: DurableContext) -> str:
    context.step(work)
    context.wait(AN_HOUR)
    return "done"


def fail(context: DurableContext) -> str:
    context.step(work)
    raise LookupError("mine")


@pytest.mark.parametrize("copied", [False, True], ids=["without", "with variables"])
@pytest.mark.parametrize("body", [return_at_once, wait_long, fail])
def test_a_thread_of_a_handler_hears_that_its_invocation_has_ended(
    body: Callable[[DurableContext], str],
    copied: bool,
) -> None:
    thread = Thread()

    def handle(_event: Any, context: DurableContext) -> str:
        thread.start(lambda: context.step(work), copied=copied)
        return body(context)

    host = Hosted(handler(handle))
    outcome, calls = host.run(), len(host.calls)
    error = thread.raised()
    assert isinstance(error, InvalidStateError)
    assert "after the invocation of the handler had ended, and is not recorded" in str(error)
    assert (host.outcomes[-1], len(host.calls)) == (outcome, calls)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_durable_call_of_such_a_thread_hears_it(
    call: Callable[[DurableContext], Any],
) -> None:
    thread = Thread()

    def handle(_event: Any, context: DurableContext) -> None:
        thread.start(lambda: call(context))

    host = Hosted(handler(handle))
    host.run()
    assert isinstance(thread.raised(), InvalidStateError)
    assert host.updates == []


def test_a_thread_of_a_handler_hears_that_its_execution_is_paused() -> None:
    thread = Thread()

    def handle(_event: Any, context: DurableContext) -> str:
        thread.start(lambda: context.step(work))
        host.command(commands.Pause(running=True))
        context.step(work)
        return "not reached"

    host = Hosted(handler(handle))
    assert host.deliver() == Pending()
    calls = len(host.calls)
    assert isinstance(thread.raised(), InvalidStateError)
    assert len(host.calls) == calls


def test_a_thread_that_waits_for_a_callback_hears_that_its_invocation_has_ended() -> None:
    thread = Thread()

    def handle(_event: Any, context: DurableContext) -> str:
        callback = context.create_callback()
        thread.start(callback.result)
        return "done"

    host = Hosted(handler(handle))
    assert host.run() == Succeeded('"done"')
    error = thread.raised()
    assert isinstance(error, InvalidStateError)
    assert str(error).startswith("the result of a callback was called in the thread")
    assert host.outcomes == [Succeeded('"done"')]


def test_a_context_that_was_left_in_a_variable_is_refused_in_the_next_execution() -> None:
    left: list[DurableContext] = []

    def handle(_event: Any, context: DurableContext) -> str:
        left.append(context)
        return left[0].step(work)

    function = handler(handle)
    assert Hosted(function).run() == Succeeded('"done"')
    outcome = Hosted(function).run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.InvalidStateError"
    assert "A context belongs to one invocation" in str(outcome.error.message)


def test_a_thread_of_a_step_hears_that_its_invocation_has_ended() -> None:
    thread = Thread()
    seen: list[bool] = []

    def start(step: StepContext) -> str:
        def go_on() -> None:
            seen.append(step.cancelled)
            step.heartbeat({"at": 1})

        thread.start(go_on)
        return "done"

    host = Hosted(handler(lambda _, context: context.step(start)))
    assert host.run() == Succeeded('"done"')
    error = thread.raised()
    assert seen == [True]
    assert isinstance(error, StepCancelledError)
    assert str(error) == "Attempt 1 of STEP (Step) has ended, and its invocation too."
    assert "HEARTBEAT STEP" not in host.updates


def test_what_a_step_has_left_behind_is_cancelled_while_the_invocation_goes_on() -> None:
    seen: list[bool] = []

    def handle(_event: Any, context: DurableContext) -> str:
        retained: list[StepContext] = []

        def keep(step: StepContext) -> bool:
            retained.append(step)
            return step.cancelled

        seen.append(context.step(keep))
        retained[0].heartbeat()
        seen.append(retained[0].cancelled)
        return context.step(work)

    assert Hosted(handler(handle)).run() == Succeeded('"done"')
    assert seen == [False, True]


def test_a_branch_that_a_race_leaves_behind_meets_control_flow_and_records_nothing() -> None:
    met: list[BaseException] = []
    over, left = threading.Event(), threading.Event()

    def loser(context: DurableContext) -> None:
        try:
            left.set()
            over.wait(60)
            context.step(work)
        except BaseException as error:
            met.append(error)
            raise

    def winner(_context: DurableContext) -> str:
        left.wait(60)
        return "first"

    def handle(_event: Any, context: DurableContext) -> Any:
        won = context.race([winner, loser])
        threading.Timer(0, over.set).start()
        return won

    assert isinstance(Hosted(handler(handle)).run(), Succeeded)
    assert [type(each) for each in met] == [OrphanedChildException]


def stubborn_task(monkeypatch: pytest.MonkeyPatch, *, suspends: bool) -> tuple[Hosted, Outcome]:
    """Run a handler whose task survives its cancellation, and goes on making durable calls."""
    monkeypatch.setattr(tasks, "STOP_S_MAX", 0.0)

    async def stay(context: AsyncDurableContext, met: list[BaseException]) -> None:
        try:
            await (context.wait(AN_HOUR) if suspends else asyncio.Event().wait())
        except asyncio.CancelledError:
            try:
                await context.step(work)
            except BaseException as error:
                met.append(error)
                raise

    met: list[BaseException] = []

    async def handle(context: AsyncDurableContext) -> str:
        task = asyncio.create_task(stay(context, met))
        await asyncio.sleep(0)
        if suspends:
            await context.wait(AN_HOUR)
        return f"done {task.done()}"

    host = hosted_async(handle)
    outcome = host.run()
    (error,) = met
    assert type(error) is (SuspendExecution if suspends else OrphanedChildException)
    assert str(error).startswith("This invocation has ended: ")
    return host, outcome


def test_a_task_that_outlives_its_handler_meets_control_flow_and_records_nothing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        host, outcome = stubborn_task(patch, suspends=False)
    assert outcome == Succeeded('"done False"')
    assert "START STEP" not in host.updates


def test_a_task_that_outlives_a_suspension_meets_control_flow_and_records_nothing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        host, outcome = stubborn_task(patch, suspends=True)
    assert outcome == Pending()
    assert host.updates == ["START WAIT", "START WAIT"]


def test_a_thread_of_an_async_handler_hears_that_its_invocation_has_ended() -> None:
    thread = Thread()

    async def handle(_event: Any, context: AsyncDurableContext) -> str:
        thread.start(lambda: context.step(work))
        return await context.step(work)

    host = Hosted(async_handler(handle))
    assert host.run() == Succeeded('"done"')
    calls = len(host.calls)
    assert isinstance(thread.raised(), InvalidStateError)
    assert len(host.calls) == calls
