"""Workers that make unary calls: what the gateway guarantees them."""

import asyncio
from typing import Any

import grpc

from perdure_host.metrics import ServerMetrics
from perdure_proto.v1 import client_pb2, worker_pb2
from tests.gateway.serving import (
    Peer,
    Served,
    SteppedClock,
    failure_of,
    pass_listening,
    registration,
    run,
    serving,
    start_request,
    step,
)


async def poll(
    served: Served, slots: int = 1, wait_ms: int = 10_000
) -> list[worker_pb2.Invocation]:
    request = worker_pb2.PollRequest(worker_id="w", max_invocations=slots, wait_ms=wait_ms)
    return list((await served.workers.Poll(request)).invocations)


def test_an_execution_runs_through_unary_calls() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            started = await served.executions.StartExecution(start_request(input="1"))
            (invocation,) = await poll(served)
            checkpoint = worker_pb2.CheckpointRequest(
                checkpoint_token=invocation.checkpoint_token,
                client_token="c",
                updates=[step("s", "START"), step("s", "SUCCEED", payload="2")],
            )
            answer = await served.workers.Checkpoint(checkpoint)
            again = await served.workers.Checkpoint(checkpoint)
            assert again.checkpoint_token == answer.checkpoint_token
            page = await served.workers.GetState(
                worker_pb2.GetStateRequest(checkpoint_token=answer.checkpoint_token, max_items=1)
            )
            assert [operation.type for operation in page.operations] == ["EXECUTION"]
            await served.workers.Complete(
                worker_pb2.CompleteRequest(
                    checkpoint_token=answer.checkpoint_token, status="SUCCEEDED", result="3"
                )
            )
            execution = await served.executions.GetExecution(
                client_pb2.GetExecutionRequest(execution_arn=started.execution_arn)
            )
            assert (execution.status, execution.result) == ("SUCCEEDED", "3")

    run(main)


def test_a_poll_that_waits_gets_what_comes() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            polling = asyncio.ensure_future(poll(served))
            started = await served.executions.StartExecution(start_request())
            (invocation,) = await polling
            assert invocation.execution_arn == started.execution_arn

    run(main)


def test_a_poll_gets_no_more_than_it_asked_for_and_credit_ends_with_it() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            assert await poll(served, wait_ms=0) == []
            for _ in range(3):
                await served.executions.StartExecution(start_request())
            assert len(await poll(served, slots=2)) == 2
            await Peer.connect(served, registration("other"))
            # Credit that outlived the polls would have taken the third one.
            assert len(await poll(served, slots=2)) == 1

    run(main)


def test_an_unregistered_worker_is_told_to_register() -> None:
    async def main() -> None:
        async with serving() as served:
            failures = [
                await failure_of(
                    served.workers.Poll(worker_pb2.PollRequest(worker_id="w", max_invocations=1))
                ),
                await failure_of(
                    served.workers.Heartbeat(worker_pb2.HeartbeatRequest(worker_id="w"))
                ),
                await failure_of(
                    served.workers.HandBack(worker_pb2.HandBackRequest(worker_id="w"))
                ),
            ]
            for failure in failures:
                assert failure.code() is grpc.StatusCode.NOT_FOUND
                assert failure.details() == "worker w has not registered here; call Register first"

    run(main)


def test_a_silent_worker_loses_what_it_runs_and_a_polling_one_is_not_silent() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with serving(clock=clock) as served:
            await served.workers.Register(registration())
            await served.executions.StartExecution(start_request())
            (lost,) = await poll(served)
            other = await Peer.connect(served, registration("other", slots=1), credit=1)
            await pass_listening(served, clock, 14_000)
            await other.heartbeat()
            await pass_listening(served, clock, 2_000)
            again = asyncio.ensure_future(other.invocation())
            while not again.done():
                clock.advance(1_000)
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            assert again.result().execution_arn == lost.execution_arn
            await served.workers.Register(registration())
            polling = asyncio.ensure_future(poll(served))
            while served.registry.find("w") is None:
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            started = await served.executions.StartExecution(start_request())
            assert [each.execution_arn for each in await polling] == [started.execution_arn]

    run(main)


def test_a_heartbeat_names_what_is_lost_and_hand_back_returns_the_rest() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            await served.executions.StartExecution(start_request())
            (first,) = await poll(served)
            beat = worker_pb2.HeartbeatRequest(
                worker_id="w", invocation_ids=[first.invocation_id, "gone"]
            )
            assert list((await served.workers.Heartbeat(beat)).lost_invocation_ids) == ["gone"]
            tokens = [first.checkpoint_token]
            await served.workers.HandBack(
                worker_pb2.HandBackRequest(worker_id="w", checkpoint_tokens=tokens)
            )
            (again,) = await poll(served)
            assert again.execution_arn == first.execution_arn

    run(main)


def test_a_draining_node_lets_polls_go() -> None:
    async def main() -> None:
        metrics = ServerMetrics()
        async with serving(metrics=metrics) as served:
            await served.workers.Register(registration(slots=4))
            polling = asyncio.ensure_future(failure_of(poll(served, slots=4)))
            while metrics.registry.get_sample_value("perdure_slots_in_use") != 0:
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            await served.server.drain()
            failure = await polling
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
            assert failure.details() == "this node is stopping; register at another"

    run(main)


def test_what_a_broken_poll_left_behind_comes_with_the_next() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            request = worker_pb2.PollRequest(worker_id="w", max_invocations=1, wait_ms=60_000)
            broken: Any = served.workers.Poll(request)
            # The next poll is let in once the server has noticed that the first one is gone.
            waiting = asyncio.ensure_future(poll(served))
            await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            broken.cancel()
            started = await served.executions.StartExecution(start_request())
            assert [each.execution_arn for each in await waiting] == [started.execution_arn]

    run(main)


def test_a_poll_asks_within_its_bounds() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration(slots=4))
            too_many = await failure_of(poll(served, slots=5))
            assert too_many.details() == "max_invocations must be 1 to 4, got 5"
            too_long = await failure_of(poll(served, wait_ms=60_001))
            assert too_long.details() == "wait_ms must be 0 to 60,000, got 60,001"

    run(main)


def test_a_heartbeat_names_the_invocation_of_an_execution_that_was_stopped() -> None:
    async def main() -> None:
        async with serving() as served:
            await served.workers.Register(registration())
            started = await served.executions.StartExecution(start_request())
            (invocation,) = await poll(served)
            arn = started.execution_arn
            await served.executions.StopExecution(
                client_pb2.StopExecutionRequest(execution_arn=arn)
            )
            ids = [invocation.invocation_id]
            beat = worker_pb2.HeartbeatRequest(worker_id="w", invocation_ids=ids)
            assert list((await served.workers.Heartbeat(beat)).lost_invocation_ids) == ids

    run(main)
