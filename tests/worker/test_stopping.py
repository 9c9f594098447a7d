"""Stopping a worker: no new work, running handlers can end, the rest is handed back."""

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
        async with Peer() as peer, working(peer, gated(gate), drain_s=10.0) as worker:
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
        async with Peer() as peer, working(peer, gated(gate), drain_s=10.0) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            worker.stop.set()
            await stream.deliver(invocation(2))
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t2"]
            gate.open()

    play(scenario)
