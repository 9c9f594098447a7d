"""Async handlers in a worker: many at once on one thread, which is not the session's."""

import asyncio
import threading
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableFunction, StepContext
from perdure.worker_api import FunctionSettings
from perdure_worker.threads.handler_loop_thread import THREAD_NAME
from tests.worker.peer import DEADLINE_S, Peer, invocation
from tests.worker.scenario import SCENARIO_S_MAX, Gate, one_step, play, working


def hosted(handler: Any, name: str = "handler") -> DurableFunction:
    return DurableFunction(handler, FunctionSettings(name))


async def _double(event: Any, context: AsyncDurableContext) -> Any:
    async def double(_: StepContext) -> tuple[int, str]:
        return event["number"] * 2, threading.current_thread().name

    return await context.step(double, name="double")


def test_an_async_handler_runs_on_the_thread_of_async_handlers() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(_double)):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event='{"number": 21}'))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.status == "SUCCEEDED"
            assert end.request.result == f'[42, "{THREAD_NAME}"]'
            await stream.confirm(end)

    play(scenario)


def test_many_run_at_once_each_in_a_slot() -> None:
    meeting = asyncio.Barrier(8)

    async def meet(_event: Any, _context: AsyncDurableContext) -> str:
        await asyncio.wait_for(meeting.wait(), DEADLINE_S)
        return "met"

    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(meet), slots=8):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(*(invocation(number) for number in range(8)))
            ends = await stream.expect_calls("completions", 8)
            assert {end.request.result for end in ends} == {'"met"'}
            for end in ends:
                await stream.confirm(end)
            await stream.expect_credits(16)

    play(scenario)


def test_one_that_blocks_keeps_no_other_handler_and_no_heartbeat_waiting() -> None:
    gate = Gate()

    async def block(_event: Any, _context: AsyncDurableContext) -> None:
        gate.pass_through()

    async def scenario() -> None:
        ordinary = one_step("ordinary")
        async with Peer() as peer, working(peer, hosted(block), ordinary):
            stream = await peer.next_stream()
            await stream.register(interval_ms=50)
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            await stream.deliver(invocation(2, "ordinary", event='{"number": 4}'))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.result == "8"
            await stream.confirm(end)
            while await stream.expect_heartbeat() != ["i1"]:
                pass
            gate.open()
            await stream.confirm(await stream.expect_call("completions"))

    play(scenario)


def test_a_handler_whose_turn_has_passed_is_cancelled_and_gives_its_slot_back() -> None:
    entered, cleaned = threading.Event(), threading.Event()

    async def linger(_event: Any, _context: AsyncDurableContext) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(linger), slots=1):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            assert await asyncio.to_thread(entered.wait, DEADLINE_S)
            await stream.lose("i1")
            assert await asyncio.to_thread(cleaned.wait, DEADLINE_S)
            await stream.expect_credits(2)

    play(scenario)


@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_handler_that_exits_ends_no_more_than_its_execution(
    error: type[BaseException], *, in_task: bool
) -> None:
    async def exit_here() -> None:
        raise error

    async def leave(_event: Any, _context: AsyncDurableContext) -> None:
        await (asyncio.create_task(exit_here()) if in_task else exit_here())

    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(leave), hosted(_double, "double")):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            end = await stream.expect_call("completions")
            assert end.request.status == "FAILED"
            await stream.confirm(end)
            await stream.deliver(invocation(2, "double", event='{"number": 1}'))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.status == "SUCCEEDED"
            await stream.confirm(end)

    play(scenario)


def test_handlers_that_have_not_ended_when_the_worker_stops_clean_up() -> None:
    entered, cleaned = threading.Event(), threading.Event()

    async def linger(_event: Any, _context: AsyncDurableContext) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(linger)) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            assert await asyncio.to_thread(entered.wait, DEADLINE_S)
            worker.stop.set()
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t1"]
            assert await worker.wait_exit() == 0
        assert await asyncio.to_thread(cleaned.wait, DEADLINE_S)

    play(scenario)


def test_cleaning_up_is_not_disturbed_by_the_end_of_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure.drivers.handler_loop.CLEAN_S_MAX", SCENARIO_S_MAX)
    gate, cleaned = Gate(), threading.Event()

    async def linger(_event: Any, _context: AsyncDurableContext) -> None:
        try:
            gate.entered.release()
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(gate.pass_through)
            cleaned.set()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, hosted(linger)) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            worker.stop.set()
            await gate.wait_entered()
            assert await worker.wait_exit() == 0
            gate.open()
            assert await asyncio.to_thread(cleaned.wait, DEADLINE_S)

    play(scenario)
