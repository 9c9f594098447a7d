"""Broken streams and dead servers: handlers go on, and no message is repeated or lost."""

import asyncio
import json
import logging

import grpc
import grpc.aio
import pytest

from tests.worker.peer import Peer, invocation
from tests.worker.scenario import Gate, gated, one_step, play, working

EVENT = json.dumps({"number": 21})


def test_what_runs_is_claimed_and_only_free_slots_are_promised_again() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), slots=3):
            broken = await peer.next_stream()
            await broken.register()
            await broken.deliver(invocation(1))
            await gate.wait_entered()
            broken.end()
            stream = await peer.next_stream()
            registration = await stream.register()
            assert list(registration.claims) == ["t1"]
            await stream.expect_credits(2)
            gate.open()
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.status == "SUCCEEDED"

    play(scenario)


def test_an_unanswered_checkpoint_is_repeated_with_its_client_token() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            broken = await peer.next_stream()
            await broken.register()
            await broken.deliver(invocation(1, event=EVENT))
            call = await broken.expect_call("checkpoints")
            broken.end()
            stream = await peer.next_stream()
            assert list((await stream.register()).claims) == ["t1"]
            again = await stream.expect_call("checkpoints")
            assert again.request == call.request
            assert again.request.client_token != ""

    play(scenario)


def test_an_unconfirmed_end_is_repeated() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            broken = await peer.next_stream()
            await broken.register()
            await broken.deliver(invocation(1, event=EVENT))
            await broken.accept(await broken.expect_call("checkpoints"), "t2")
            end = await broken.expect_call("completions")
            broken.end()
            stream = await peer.next_stream()
            assert list((await stream.register()).claims) == ["t2"]
            again = await stream.expect_call("completions")
            assert again.request == end.request

    play(scenario)


def test_a_refused_claim_drops_the_invocation() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1) as worker:
            broken = await peer.next_stream()
            await broken.register()
            await broken.deliver(invocation(1, event=EVENT))
            await broken.expect_call("checkpoints")
            broken.end()
            stream = await peer.next_stream()
            await stream.register(refused=["t1"])
            await stream.expect_credits(1)
            worker.stop.set()
            await stream.expect_close()

    play(scenario)


def test_a_killed_server_is_found_again_and_handlers_go_on_meanwhile() -> None:
    gate = Gate()

    async def scenario() -> None:
        peer = Peer()
        async with peer, working(peer, gated(gate)):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            await peer.stop()
            gate.open()
            async with Peer(peer.port) as restarted:
                stream = await restarted.next_stream()
                assert list((await stream.register()).claims) == ["t1"]
                await stream.accept(await stream.expect_call("checkpoints"), "t2")
                end = await stream.expect_call("completions")
                assert end.request.status == "SUCCEEDED"
                await stream.confirm(end)

    play(scenario)


def test_a_silent_server_is_left_for_a_new_stream() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            silent = await peer.next_stream()
            await silent.register(interval_ms=20, timeout_ms=60)
            stream = await peer.next_stream()
            await stream.register()

    play(scenario)


def test_a_server_that_is_not_there_yet_is_waited_for_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        attempts: asyncio.Queue[None] = asyncio.Queue()

        def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            attempts.put_nowait(None)
            writer.close()

        not_grpc = await asyncio.start_server(hang_up, "127.0.0.1")
        peer = Peer(not_grpc.sockets[0].getsockname()[1])
        async with working(peer, one_step()):
            for _ in range(3):
                await attempts.get()
            not_grpc.close()
            async with peer:
                await (await peer.next_stream()).register()
                # The end of the peer may be an outage of its own, before that of the worker.
                assert caplog.text.count("no server at") == 1

    caplog.set_level(logging.INFO, "perdure.worker")
    play(scenario)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
def test_a_server_that_will_not_have_the_worker_ends_it(
    code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()) as worker:
            stream = await peer.next_stream()
            await stream.expect("register")
            stream.end(code, "a reason that people understand")
            assert await worker.wait_exit() == 1
        assert "a reason that people understand" in caplog.text

    play(scenario)


def test_a_server_of_another_protocol_ends_the_worker() -> None:
    async def scenario() -> None:
        server = grpc.aio.server()
        peer = Peer(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        async with working(peer, one_step()) as worker:
            assert await worker.wait_exit() == 1
        await server.stop(None)

    play(scenario)
