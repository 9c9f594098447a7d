"""Large payloads in progress are bounded, and every call releases what it has reserved."""

import asyncio

import grpc
import pytest

from perdure_gateway.admission.memory_budget import BUDGET_BYTES_MAX, SMALL_BYTES_MAX, MemoryBudget
from perdure_gateway.errors import ResourceExhausted
from tests.gateway.serving import (
    Peer,
    all_is_free,
    failure_of,
    others_turn,
    run,
    serving,
    start_request,
    step,
)

LARGE = SMALL_BYTES_MAX + 1


def test_the_budget_is_used_to_the_last_byte_and_not_beyond() -> None:
    budget = MemoryBudget(2 * LARGE)
    reservation, other = budget.reservation(), budget.reservation()
    reservation.reserve(LARGE)
    with pytest.raises(ResourceExhausted, match=r"1,048,577 bytes left, and 1,048,578 are needed"):
        other.reserve(LARGE + 1)
    other.reserve(LARGE)
    assert budget.free == 0
    # A refused call has reserved nothing, and small payloads need nothing.
    budget.reservation().reserve(SMALL_BYTES_MAX)
    with pytest.raises(ResourceExhausted):
        budget.reservation().reserve(LARGE)
    reservation.release()
    reservation.release()
    other.release()
    assert budget.free == 2 * LARGE


def test_a_call_releases_its_reservation_when_it_succeeds_and_when_it_is_refused() -> None:
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


def test_a_payload_over_budget_is_refused_by_calls_and_in_sessions_and_accepted_later() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            # The invocation itself is held until it has left.
            await all_is_free(served)
            others = served.registry.budget.reservation()
            others.reserve(BUDGET_BYTES_MAX)
            large = step("s", "START")
            ended = step("s", "SUCCEED", payload="2" * LARGE)
            exhausted = await failure_of(
                served.executions.StartExecution(start_request(input="1" * LARGE))
            )
            assert exhausted.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "memory budget" in str(exhausted.details())
            reply = await peer.checkpoint(token, large, ended)
            assert reply.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            others.release()
            reply = await peer.checkpoint(token, large, ended)
            assert reply.WhichOneof("outcome") == "checkpoint"
            await served.executions.StartExecution(start_request(input="1" * LARGE))
            await all_is_free(served)

    run(main)


def test_a_cancelled_call_releases_its_reservation() -> None:
    async def main() -> None:
        async with serving() as served:
            waiting = served.executions.StartExecution(
                start_request(input="1" * LARGE, wait_ms=10_000)
            )
            sending = asyncio.ensure_future(failure_of(waiting))
            while served.registry.budget.free == BUDGET_BYTES_MAX:
                await others_turn()
            waiting.cancel()
            await asyncio.wait([sending])
            await all_is_free(served)

    run(main)
