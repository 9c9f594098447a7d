"""One session: invocations in, checkpoints and ends out, and refused calls."""

import asyncio
import json
import time

import grpc
import pytest

from perdure_proto.v1 import worker_pb2
from tests.worker.peer import Peer, invocation
from tests.worker.scenario import Gate, gated, one_step, play, working

EVENT = json.dumps({"number": 21})


def test_an_invocation_runs_to_its_end() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            call = await stream.expect_call("checkpoints")
            assert call.request.checkpoint_token == "t1"
            assert [u.action for u in call.request.updates] == ["START", "SUCCEED"]
            await stream.accept(call, "t2")
            end = await stream.expect_call("completions")
            assert end.request.checkpoint_token == "t2"
            assert (end.request.status, end.request.result) == ("SUCCEEDED", "42")
            await stream.confirm(end)

    play(scenario)


def test_the_registration_names_functions_slots_and_worker() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=7, worker_id="w1"):
            registration = await (await peer.next_stream()).register()
            assert registration.worker_id == "w1"
            assert [f.function_name for f in registration.functions] == ["handler"]
            assert registration.functions[0].durable
            assert registration.slots == 7
            assert list(registration.claims) == []

    play(scenario)


def test_a_slot_is_promised_once_and_again_when_it_is_free() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), slots=2):
            stream = await peer.next_stream()
            await stream.register()
            await stream.expect_credits(2)
            await stream.deliver(invocation(1), invocation(2))
            await gate.wait_entered()
            await gate.wait_entered()
            assert stream.credits == 2
            gate.open()
            for call in await stream.expect_calls("checkpoints", 2):
                await stream.accept(call, "next")
            for end in await stream.expect_calls("completions", 2):
                await stream.confirm(end)
            await stream.expect_credits(4)

    play(scenario)


def test_an_invocation_without_a_free_slot_is_handed_back() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), slots=1):
            stream = await peer.next_stream()
            await stream.register()
            await stream.expect_credits(1)
            await stream.deliver(invocation(1), invocation(2), unasked=True)
            assert list((await stream.expect("hand_back")).checkpoint_tokens) == ["t2"]
            gate.open()

    play(scenario)


@pytest.mark.parametrize("code", [grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND])
def test_a_turn_that_has_passed_is_dropped(code: grpc.StatusCode) -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1) as worker:
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            call = await stream.expect_call("checkpoints")
            await stream.refuse(call.call_id, code)
            await stream.expect_credits(2)
            worker.stop.set()
            await stream.expect_close()

    play(scenario)


def test_a_dropped_handler_keeps_its_slot_until_its_thread_ends() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate), slots=1):
            stream = await peer.next_stream()
            await stream.register(interval_ms=20)
            await stream.deliver(invocation(1))
            await gate.wait_entered()
            lost = worker_pb2.HeartbeatResponse(lost_invocation_ids=["i1"])
            await stream.send(worker_pb2.ServerMessage(heartbeat=lost))
            while await stream.expect_heartbeat() != []:
                pass
            await stream.expect_heartbeat()
            await stream.expect_credits(1)
            gate.open()
            await stream.expect_credits(2)

    play(scenario)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_try_again_repeats_the_very_same_call(code: grpc.StatusCode) -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            call = await stream.expect_call("checkpoints")
            await stream.refuse(call.call_id, code)
            again = await stream.expect_call("checkpoints")
            assert again.request == call.request
            await stream.accept(again, "t2")
            end = await stream.expect_call("completions")
            await stream.refuse(end.call_id, code)
            end_again = await stream.expect_call("completions")
            assert end_again.request == end.request
            await stream.confirm(end_again)

    play(scenario)


def test_trying_again_ends_at_the_deadline_of_the_execution() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1):
            stream = await peer.next_stream()
            await stream.register()
            late = invocation(1, event=EVENT)
            late.execution_deadline_timestamp.seconds = 1
            late.handed_out_timestamp.seconds = 1
            await stream.deliver(late)
            call = await stream.expect_call("checkpoints")
            await stream.refuse(call.call_id, grpc.StatusCode.UNAVAILABLE)
            await stream.expect_credits(2)

    play(scenario)


def test_a_refused_checkpoint_fails_the_execution_with_its_message() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            call = await stream.expect_call("checkpoints")
            await stream.refuse(call.call_id, grpc.StatusCode.INVALID_ARGUMENT, "too long a name")
            end = await stream.expect_call("completions")
            assert end.request.checkpoint_token == "t1"
            assert end.request.status == "FAILED"
            assert "too long a name" in end.request.error.error_message

    play(scenario)


def test_a_refused_end_becomes_an_error_of_the_invocation() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            await stream.refuse(end.call_id, grpc.StatusCode.INVALID_ARGUMENT, "result too large")
            instead = await stream.expect_call("completions")
            assert instead.request.status == "ERROR"
            assert instead.request.error.error_message == "result too large"

    play(scenario)


def test_a_revoked_turn_ends_pending_with_the_token_that_it_had() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, event=EVENT))
            await stream.accept(await stream.expect_call("checkpoints"), "")
            end = await stream.expect_call("completions")
            assert (end.request.checkpoint_token, end.request.status) == ("t1", "PENDING")
            await stream.confirm(end)

    play(scenario)


def test_further_pages_are_fetched_before_the_handler_runs() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step()):
            stream = await peer.next_stream()
            await stream.register()
            whole = invocation(1, event=EVENT)
            first = invocation(1, next_marker="m1")
            del first.operations[:]
            await stream.deliver(first)
            call = await stream.expect("get_state")
            assert (call.request.checkpoint_token, call.request.marker) == ("t1", "m1")
            page = worker_pb2.GetStateResponse(operations=whole.operations)
            await stream.reply(worker_pb2.Reply(call_id=call.call_id, state=page))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert end.request.result == "42"

    play(scenario)


def test_an_unknown_function_is_an_error_of_the_invocation() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, "other"))
            end = await stream.expect_call("completions")
            assert end.request.status == "ERROR"
            assert "'other'" in end.request.error.error_message
            await stream.confirm(end)
            await stream.expect_credits(2)

    play(scenario)


def test_heartbeats_list_what_runs() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, gated(gate)):
            stream = await peer.next_stream()
            await stream.register(interval_ms=20)
            await stream.deliver(invocation(1))
            while await stream.expect_heartbeat() != ["i1"]:
                pass
            gate.open()

    play(scenario)


def test_a_wall_clock_that_differs_from_the_servers_ends_no_invocation() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1):
            stream = await peer.next_stream()
            await stream.register()
            # By the server's clock, which is years behind, the execution has another minute.
            there = invocation(1, event=EVENT)
            there.handed_out_timestamp.seconds = 1_000
            there.execution_deadline_timestamp.seconds = 1_060
            await stream.deliver(there)
            call = await stream.expect_call("checkpoints")
            await stream.refuse(call.call_id, grpc.StatusCode.UNAVAILABLE)
            again = await stream.expect_call("checkpoints")
            assert again.request == call.request

    play(scenario)


def test_a_worker_that_did_not_run_for_a_while_reads_before_it_reports_or_judges() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), slots=1):
            stream = await peer.next_stream()
            await stream.register(interval_ms=500, timeout_ms=2_000)
            await stream.expect_credits(1)
            await stream.expect_heartbeat()
            # The loop of the worker, which is that of this test, is held past the timeout.
            delivering = asyncio.ensure_future(stream.deliver(invocation(1, event=EVENT)))
            await asyncio.sleep(0)
            time.sleep(3)  # noqa: ASYNC251 - the whole process stops
            await delivering
            call = await stream.expect_call("checkpoints")
            assert await stream.expect_heartbeat() == ["i1"]
            await stream.accept(call, "t2")
            assert peer.sessions == 1

    play(scenario)
