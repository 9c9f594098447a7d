"""A worker whose interpreter is held: another process speaks for it, for a limited time."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import grpc
import grpc.aio
import psutil

from perdure_host.channel import ConnectionSettings
from perdure_proto.v1 import worker_pb2
from perdure_worker.liveness.held import HELD_S_MAX, HeldWatch
from perdure_worker.liveness.keeper import Keeper
from perdure_worker.liveness.keeper_process import is_stopped
from tests.worker.peer import DEADLINE_S, SERVICE, Peer, invocation
from tests.worker.scenario import one_step, play, working


def test_a_worker_that_beats_is_not_spoken_for() -> None:
    watch = HeldWatch(5.0, 0.0)
    assert [watch.speaks(now_s) for now_s in (0, 5, 7.4)] == [False, False, False]
    watch.beat(7.4)
    assert not watch.speaks(14.0)
    assert watch.next_check_s(7.4) == 7.5


def test_a_held_worker_is_spoken_for_at_each_interval_until_the_stated_time() -> None:
    watch = HeldWatch(5.0, 0.0)
    assert watch.speaks(7.5)
    assert watch.next_check_s(7.5) == 5.0
    assert watch.speaks(HELD_S_MAX)
    assert not watch.speaks(HELD_S_MAX + 1)


def test_a_process_that_a_signal_stopped_counts_as_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert is_stopped(process.pid)
        process.kill()


def test_heartbeats_go_on_while_the_loop_does_not_run() -> None:
    """The keeper makes calls of its own, which the server answers once this loop runs again."""
    beats: asyncio.Queue[str] = asyncio.Queue()

    async def heartbeat(
        request: worker_pb2.HeartbeatRequest, _context: object
    ) -> worker_pb2.HeartbeatResponse:
        beats.put_nowait(request.worker_id)
        return worker_pb2.HeartbeatResponse()

    async def scenario() -> None:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(
            heartbeat,
            request_deserializer=worker_pb2.HeartbeatRequest.FromString,
            response_serializer=worker_pb2.HeartbeatResponse.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"Heartbeat": method})
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        others = psutil.Process().children()
        keeper = Keeper(ConnectionSettings(server=f"127.0.0.1:{port}"), "held")
        keeper.watch(0.2)
        (process,) = [each for each in psutil.Process().children() if each not in others]
        while beats.empty():  # ends when the keeper has come up, and found the loop silent
            time.sleep(0.5)  # noqa: ASYNC251 - it is what is claimed here
            await asyncio.sleep(0.05)
        assert await beats.get() == "held"
        keeper.close()
        assert not process.is_running()
        await server.stop(None)

    play(scenario)


def test_a_worker_that_was_held_does_not_take_its_server_for_dead() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register(interval_ms=200, timeout_ms=400)
            await stream.expect_credits(2)
            time.sleep(1.5)  # noqa: ASYNC251 - longer than the silence that it allows
            await stream.send(worker_pb2.ServerMessage(heartbeat=worker_pb2.HeartbeatResponse()))
            await stream.deliver(invocation(1, event='{"number": 1}'))
            async with asyncio.timeout(DEADLINE_S):
                await stream.expect_call("checkpoints")

    play(scenario)
