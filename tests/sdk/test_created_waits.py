"""Waits that start now, are awaited later, and can be cancelled."""

import asyncio
import threading
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext
from perdure.config import CompletionConfig, Duration, ParallelConfig
from perdure.exceptions import DurableOperationError, ValidationError, WaitCancelledError
from perdure.worker_api import Failed, Outcome, Pending, Succeeded
from tests.sdk.hosted import Crash, Hosted, handler, hosted_async


def test_it_begins_at_once_and_its_result_is_its_end() -> None:
    def body(_: Any, context: DurableContext) -> str:
        deadline = context.create_wait(Duration(60), "deadline")
        context.wait(Duration(45))
        deadline.result()
        return "over"

    host = Hosted(handler(body))
    began_ms = host.now_ms
    assert host.finish() == Succeeded('"over"')
    assert host.now_ms - began_ms == 60_000
    assert host.history.count("WaitSucceeded") == 2


def test_a_wait_that_is_not_awaited_delays_nothing() -> None:
    def body(_: Any, context: DurableContext) -> str:
        context.create_wait(Duration(60))
        return "done"

    assert Hosted(handler(body)).run() == Succeeded('"done"')


def cancelling(_: Any, context: DurableContext) -> list[Any]:
    wait = context.create_wait(Duration(60), "nap")
    found: list[Any] = [wait.cancel(), wait.cancel()]
    context.wait(Duration(5))
    try:
        wait.result()
    except WaitCancelledError as error:
        found += [str(error), error.error_type, type(error.__cause__).__name__]
    return found


CANCELLED = (
    '[true, true, "WAIT (Wait) \'nap\' was cancelled.", "Wait.Cancelled", "DurableOperationError"]'
)


def test_a_cancelled_one_says_so_on_the_first_run_and_on_replay() -> None:
    host = Hosted(handler(cancelling))
    began_ms = host.now_ms
    assert host.finish() == Succeeded(CANCELLED)
    assert host.now_ms - began_ms == 5_000
    assert host.updates == ["START WAIT", "CANCEL WAIT", "START WAIT"]
    assert host.history[:5] == [
        *("ExecutionStarted", "WaitStarted", "WaitCancelled", "WaitStarted"),
        "InvocationCompleted",
    ]


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("checkpoint", [1, 2, 3])
def test_a_crash_changes_nothing_of_a_cancellation(checkpoint: int, accepted: bool) -> None:
    assert Hosted(handler(cancelling), crashes=[Crash(checkpoint, accepted)]).finish() == Succeeded(
        CANCELLED
    )


def test_one_that_is_over_cannot_be_cancelled() -> None:
    def body(_: Any, context: DurableContext) -> list[Any]:
        wait = context.create_wait(Duration(5))
        context.wait(Duration(9))
        cancelled = wait.cancel()
        context.wait(Duration(1))
        wait.result()
        return [cancelled]

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("[false]")
    assert "WaitCancelled" not in host.history


def test_its_time_may_come_while_it_is_cancelled() -> None:
    host: Hosted

    def body(_: Any, context: DurableContext) -> bool:
        wait = context.create_wait(Duration(5))
        if len(host.outcomes) == 0:
            host.pass_time()
        return wait.cancel()

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("false")
    assert host.updates == ["START WAIT", "CANCEL WAIT"]


@pytest.mark.parametrize("method", ["result", "cancel"])
def test_it_is_not_for_steps(method: str) -> None:
    def body(_: Any, context: DurableContext) -> None:
        wait = context.create_wait(Duration(5))
        context.step(lambda _: getattr(wait, method)())

    outcome = Hosted(handler(body)).finish()
    assert isinstance(outcome, Failed)
    assert "of a wait was called inside a step" in str(outcome.error.message)


def test_one_of_the_handler_can_be_awaited_and_cancelled_inside_a_child() -> None:
    def body(_: Any, context: DurableContext) -> list[bool]:
        first, second = context.create_wait(Duration(5)), context.create_wait(Duration(7))

        def child(inner: DurableContext) -> list[bool]:
            first.result()
            inner.step(lambda _: None)
            return [first.cancel(), second.cancel()]

        return context.run_in_child_context(child)

    assert Hosted(handler(body)).finish() == Succeeded("[false, true]")


def test_a_branch_that_is_not_awaited_cannot_cancel() -> None:
    left = threading.Event()

    def body(_: Any, context: DurableContext) -> str:
        wait = context.create_wait(Duration(90))

        def late(_: DurableContext) -> None:
            left.wait()
            wait.cancel()

        enough = ParallelConfig(completion_config=CompletionConfig(min_successful=1))
        context.parallel([late, lambda _: None], config=enough)
        left.set()
        return "left"

    host = Hosted(handler(body))
    assert host.run() == Succeeded('"left"')
    assert "CANCEL WAIT" not in host.updates


def test_a_length_outside_the_limits_is_refused_and_takes_no_place() -> None:
    def body(_: Any, context: DurableContext) -> None:
        with pytest.raises(ValidationError, match="1 ms to 366 days"):
            context.create_wait(Duration())
        context.create_wait(Duration(0, 1)).result()

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("null")
    assert len(host.state.operations) == 1


def finished_async(body: Any) -> tuple[Hosted, Outcome]:
    host = hosted_async(body)
    return host, host.finish()


def test_a_task_learns_that_what_it_awaits_was_cancelled_by_another() -> None:
    async def body(context: AsyncDurableContext) -> list[Any]:
        wait = await context.create_wait(Duration(60), "nap")

        async def sleeper() -> str:
            try:
                await wait.result()
            except WaitCancelledError as error:
                return str(error)
            return "slept"

        sleeping = asyncio.create_task(sleeper())
        await context.wait(Duration(5))
        return [await wait.cancel(), await sleeping]

    host, outcome = finished_async(body)
    assert outcome == Succeeded("[true, \"WAIT (Wait) 'nap' was cancelled.\"]")
    assert host.updates == ["START WAIT", "START WAIT", "CANCEL WAIT"]


def test_async_waits_begin_together_and_end_in_their_time() -> None:
    async def body(context: AsyncDurableContext) -> list[Any]:
        one, two = await asyncio.gather(
            context.create_wait(Duration(5)), context.create_wait(Duration(9))
        )
        await one.result()
        return [await one.cancel(), await two.cancel()]

    host, outcome = finished_async(body)
    assert outcome == Succeeded("[false, true]")
    assert host.now_ms == 1_005_000


def test_a_cancellation_that_comes_out_of_a_child_keeps_its_class() -> None:
    def body(_: Any, context: DurableContext) -> list[Any]:
        def child(inner: DurableContext) -> None:
            wait = inner.create_wait(Duration(5), "nap")
            wait.cancel()
            wait.result()

        try:
            context.run_in_child_context(child)
        except DurableOperationError as error:
            return [type(error.__cause__).__name__, str(error)]
        return []

    host = Hosted(handler(body))
    assert host.run() != Pending()
    assert host.outcomes[-1] == Succeeded(
        '["WaitCancelledError", "WAIT (Wait) \'nap\' was cancelled."]'
    )
