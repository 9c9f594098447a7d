"""Stopping a worker: no new work, running handlers can end, the rest is handed back."""

import pytest

from perdure import DurableContext, DurableFunction, StepContext
from perdure.config import StepConfig, StepSemantics
from perdure.worker_api import FunctionSettings, RunningAttempt
from perdure_worker.draining import NAMED_MAX, countdown_s, unfinished_lines
from tests.worker.peer import Peer, invocation
from tests.worker.scenario import Gate, gated, one_step, play, working


def test_an_idle_worker_closes_its_stream_and_exits() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.expect_credits(2)
            worker.stop.set()
            await stream.expect_close()
            assert await worker.wait_exit() == 0

    play(scenario)


def test_a_worker_without_a_server_exits_too() -> None:
    async def scenario() -> None:
        async with Peer() as peer:
            pass
        async with working(peer, one_step()) as worker:
            worker.stop.set()
            assert await worker.wait_exit() == 0

    play(scenario)


def test_running_handlers_may_end_within_their_time() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), grace_s=10.0) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            worker.stop.set()
            gate.open()
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.status == "SUCCEEDED"
            await stream.confirm(end)
            await stream.expect_close()
            assert stream.credits == 2
            assert await worker.wait_exit() == 0

    play(scenario)


def test_what_has_not_ended_in_time_is_handed_back() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate)) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            worker.stop.set()
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t1"]
            await stream.expect_close()
            assert await worker.wait_exit() == 0
            gate.open()

    play(scenario)


def test_a_call_in_flight_is_awaited_and_its_new_token_handed_back() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event='{"number": 1}'))
            call = await stream.expect_call("checkpoints")
            worker.stop.set()
            await stream.accept(call, "t2")
            # The answer and the stop race: either the handler ends first, or it is handed back.
            message = await stream.expect_any()
            if message.HasField("hand_back"):
                assert list(message.hand_back.checkpoint_tokens) == ["t2"]
            else:
                await stream.confirm(message.completions.calls[0])
            await stream.expect_close()
            assert await worker.wait_exit() == 0

    play(scenario)


def test_what_arrives_while_draining_is_handed_back_at_once() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), grace_s=10.0) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            worker.stop.set()
            await stream.deliver(invocation(2))
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t2"]
            gate.open()

    play(scenario)


def once_only(gate: Gate) -> DurableFunction:
    """Return a function whose step, which may run once only, waits at a gate."""

    def charge(_step: StepContext) -> None:
        gate.pass_through()

    def handler(_event: object, context: DurableContext) -> None:
        once = StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
        context.step(charge, name="charge", config=once)

    return DurableFunction(handler, FunctionSettings("handler"))


def test_what_is_handed_back_in_the_middle_of_a_step_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "perdure.worker")
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, once_only(gate), grace_s=0.01) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            await gate.wait_entered()
            worker.stop.set()
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t2"]
            await stream.expect_close()
            assert await worker.wait_exit() == 0
            gate.open()

    play(scenario)
    arn = invocation(1).execution_arn
    meaning = "is recorded as interrupted: its retries decide"
    assert caplog.messages[-3:] == [
        "stopping: 1 invocations may go on for 0.01 s, the grace; new ones are not taken",
        "stopping: the grace is over, and 1 invocations are handed back",
        f"{arn}: handed back; Attempt 1 of STEP (Step) 'charge' was under way and {meaning}",
    ]


def test_the_time_that_is_left_is_told_more_often_towards_its_end() -> None:
    assert countdown_s(0) == [0]
    assert countdown_s(2) == [0]
    assert countdown_s(10) == [5, 2, 0]
    assert countdown_s(3_600) == [1_800, 600, 300, 120, 60, 30, 10, 5, 2, 0]


def test_unfinished_steps_are_named_up_to_a_bound() -> None:
    ours = [RunningAttempt("a", f"Attempt {n} of step", at_most_once=False) for n in range(25)]
    foreign = RunningAttempt("b", "Attempt 1 of step", at_most_once=True)
    lines = unfinished_lines(["a"], [foreign, *ours])
    assert lines[0] == "a: handed back; Attempt 0 of step was under way and runs again"
    assert len(lines) == NAMED_MAX + 1
    assert lines[-1] == "and 5 more attempts of steps"
