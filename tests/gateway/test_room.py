"""Large payloads under way are bounded, and whatever becomes of a call, its room comes back."""

import asyncio

import grpc
import pytest

from perdure_gateway.admission.memory_budget import ROOM_BYTES_MAX, SMALL_BYTES_MAX, Room
from perdure_gateway.errors import ResourceExhausted
from tests.gateway.serving import Peer, Served, failure_of, run, serving, start_request, step

LARGE = SMALL_BYTES_MAX + 1


def test_room_is_taken_to_the_last_byte_and_not_beyond() -> None:
    room = Room(2 * LARGE)
    loan, other = room.loan(), room.loan()
    loan.take(LARGE)
    with pytest.raises(ResourceExhausted, match=r"1,048,578 bytes find no room"):
        other.take(LARGE + 1)
    other.take(LARGE)
    assert room.free == 0
    # What is refused has taken nothing, and small ones need nothing.
    room.loan().take(SMALL_BYTES_MAX)
    with pytest.raises(ResourceExhausted):
        room.loan().take(LARGE)
    loan.give_back()
    loan.give_back()
    other.give_back()
    assert room.free == 2 * LARGE


async def all_is_free(served: Served) -> None:
    """Return once the room is whole again; a call is over for its caller first."""
    while served.registry.room.free != ROOM_BYTES_MAX:
        await others_turn()


async def others_turn() -> None:
    """Let whatever is ready in the loop have its turn."""
    await asyncio.sleep(0)


def test_a_call_gives_its_room_back_when_it_succeeds_and_when_it_is_refused() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request(input="1" * LARGE))
            await all_is_free(served)
            refused = await failure_of(
                served.executions.StartExecution(
                    start_request(input="1" * LARGE, function_name="no such function")
                )
            )
            assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
            await all_is_free(served)
            token = (await peer.invocation()).checkpoint_token
            reply = await peer.checkpoint(token, step("s", "START"))
            token = reply.checkpoint.checkpoint_token
            wrong = await peer.checkpoint(token, step("t", "SUCCEED", payload="2" * LARGE, name=""))
            assert wrong.WhichOneof("outcome") == "error"
            await all_is_free(served)
            reply = await peer.checkpoint(token, step("s", "SUCCEED", payload="2" * LARGE))
            assert reply.WhichOneof("outcome") == "checkpoint"
            await all_is_free(served)

    run(main)


def test_what_finds_no_room_is_refused_by_calls_and_in_sessions_and_taken_later() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            others = served.registry.room.loan()
            others.take(ROOM_BYTES_MAX)
            large = step("s", "START")
            ended = step("s", "SUCCEED", payload="2" * LARGE)
            crowded = await failure_of(
                served.executions.StartExecution(start_request(input="1" * LARGE))
            )
            assert crowded.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "find no room" in str(crowded.details())
            reply = await peer.checkpoint(token, large, ended)
            assert reply.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            others.give_back()
            reply = await peer.checkpoint(token, large, ended)
            assert reply.WhichOneof("outcome") == "checkpoint"
            await served.executions.StartExecution(start_request(input="1" * LARGE))
            await all_is_free(served)

    run(main)


def test_a_cancelled_call_gives_its_room_back() -> None:
    async def main() -> None:
        async with serving() as served:
            waiting = served.executions.StartExecution(
                start_request(input="1" * LARGE, wait_ms=10_000)
            )
            sending = asyncio.ensure_future(failure_of(waiting))
            while served.registry.room.free == ROOM_BYTES_MAX:
                await others_turn()
            waiting.cancel()
            await asyncio.wait([sending])
            await all_is_free(served)

    run(main)
