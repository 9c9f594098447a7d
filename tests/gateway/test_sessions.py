"""Workers with a stream: what the gateway guarantees them."""

import asyncio

import grpc
import pytest

from perdure_host.errors import StoreUnavailable
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ExecutionKey, StoredExecution
from perdure_proto.v1 import client_pb2, worker_pb2
from tests.gateway.serving import (
    Peer,
    SteppedClock,
    failure_of,
    pass_listening,
    registration,
    run,
    serving,
    start_request,
    step,
)


def test_an_execution_runs_through_a_session() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            waiting = asyncio.ensure_future(
                served.executions.StartExecution(start_request(input="1", wait_ms=10_000))
            )
            invocation = await peer.invocation()
            assert invocation.operations[0].execution_details.input_payload == "1"
            reply = await peer.checkpoint(invocation.checkpoint_token, step("s", "START"))
            reply = await peer.checkpoint(
                reply.checkpoint.checkpoint_token, step("s", "SUCCEED", payload="2")
            )
            reply = await peer.complete(reply.checkpoint.checkpoint_token, result="3")
            assert reply.WhichOneof("outcome") == "complete"
            answer = await waiting
            assert answer.started
            assert (answer.execution.status, answer.execution.result) == ("SUCCEEDED", "3")

    run(main)


def test_a_chained_invoke_may_name_a_function_by_an_arn() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=2)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            arn = "arn:perdure:lambda:default:000000000000:function:f:$LATEST"
            update = worker_pb2.OperationUpdate(
                id="i",
                type="CHAINED_INVOKE",
                action="START",
                chained_invoke_options=worker_pb2.ChainedInvokeOptions(function_name=arn),
            )
            reply = await peer.checkpoint(token, update)
            (operation,) = reply.checkpoint.operations
            assert operation.status == "STARTED"
            assert (await peer.invocation()).function_name == "f"

    run(main)


def test_a_checkpoint_is_not_sent_back_what_it_carried() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            reply = await peer.checkpoint(
                token, step("s", "START"), step("s", "SUCCEED", payload="2")
            )
            (operation,) = reply.checkpoint.operations
            assert operation.status == "SUCCEEDED"
            assert not operation.step_details.HasField("result")

    run(main)


def test_a_slot_is_filled_once_and_only_when_it_was_credited() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served)
            for _ in range(2):
                await served.executions.StartExecution(start_request())
            # Nothing was credited: the heartbeat's answer is the first message.
            assert await peer.heartbeat() == []
            await peer.send(credit=worker_pb2.Credit(slots=1))
            first = await peer.invocation()
            assert await peer.heartbeat(first.invocation_id) == []
            await peer.send(credit=worker_pb2.Credit(slots=1))
            second = await peer.invocation()
            assert first.execution_arn != second.execution_arn

    run(main)


def test_more_credit_than_slots_ends_the_session() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, registration(slots=4), credit=3)
            await peer.send(credit=worker_pb2.Credit(slots=2))
            failure = await peer.failure()
            assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert failure.details() == (
                "credit must be at least 1 and at most 1 slots, got 2 (3 of 4 are free already)"
            )

    run(main)


def test_a_refused_call_is_answered_and_harms_no_other() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            reply = await peer.checkpoint(token, step("s", "RETRY"))
            assert reply.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            assert (await peer.checkpoint("nonsense")).error.message.startswith(
                "Invalid checkpoint token"
            )
            reply = await peer.checkpoint(token, step("s", "START"))
            assert reply.WhichOneof("outcome") == "checkpoint"

    run(main)


def test_a_stale_token_has_an_error_code_of_its_own() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            await peer.checkpoint(token, step("s", "START"))
            reply = await peer.checkpoint(token, step("t", "START"))
            assert reply.error.code == grpc.StatusCode.ABORTED.value[0]

    run(main)


def test_answers_that_are_ready_together_leave_together() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served)
            call = worker_pb2.CheckpointRequest(checkpoint_token="x", client_token="c")
            calls = [worker_pb2.CheckpointCall(call_id=n, request=call) for n in range(50)]
            await peer.send(checkpoints=worker_pb2.CheckpointBatch(calls=calls))
            for number in range(50):
                await peer.reply(number)
            assert peer.batches == [50]

    run(main)


def test_more_calls_than_may_be_unanswered_are_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served)
            call = worker_pb2.CheckpointRequest(checkpoint_token="x")
            for first in (0, 51):
                numbers = range(first, first + 51)
                calls = [worker_pb2.CheckpointCall(call_id=n, request=call) for n in numbers]
                await peer.send(checkpoints=worker_pb2.CheckpointBatch(calls=calls))
            for number in range(2 * 51):
                assert (await peer.reply(number)).HasField("error")

    monkeypatch.setattr("perdure_gateway.workers.stream_session.UNANSWERED_MAX", 50)
    run(main)


def test_a_worker_beyond_the_limit_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served, registration("first"))
            second = Peer(served)
            await second.send(register=registration("second"))
            failure = await second.failure()
            assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (
                failure.details() == "connected workers must be at most 1; connect to another node"
            )
            # One that is known already may always come back.
            await Peer.connect(served, registration("first"))

    monkeypatch.setattr("perdure_gateway.workers.registry.WORKERS_MAX", 1)
    run(main)


def test_a_stream_that_does_not_say_whose_it_is_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving() as served:
            failure = await Peer(served).failure()
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
            assert failure.details() == "the stream must register within 0 s"

    monkeypatch.setattr("perdure_gateway.grpc_api.worker_service.REGISTER_S_MAX", 0)
    run(main)


def test_a_broken_stream_returns_its_invocations() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with serving(clock=clock) as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            lost = await peer.invocation()
            other = await Peer.connect(served, registration("other"), credit=1)
            peer.break_off()
            while served.registry.find("w") is not None:
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            # The worker had a moment to come back; it is over now.
            again = asyncio.ensure_future(other.invocation())
            while not again.done():
                clock.advance(1_000)
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            assert again.result().execution_arn == lost.execution_arn
            assert again.result().invocation_id != lost.invocation_id

    run(main)


def test_a_worker_that_comes_back_keeps_what_it_claims() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with serving(clock=clock) as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            invocation = await peer.invocation()
            reply = await peer.checkpoint(invocation.checkpoint_token, step("s", "START"))
            token = reply.checkpoint.checkpoint_token
            peer.break_off()
            while served.registry.find("w") is not None:
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            clock.advance(1)
            back = await Peer.connect(served, registration(claims=[token, token[:-4] + "AAAA"]))
            assert back.registered is not None
            assert list(back.registered.refused_claims) == [token[:-4] + "AAAA"]
            clock.advance(1_000)
            assert await back.heartbeat(invocation.invocation_id) == []
            assert (await back.complete(token)).WhichOneof("outcome") == "complete"

    run(main)


def test_a_newer_session_replaces_the_older_one_of_the_same_worker() -> None:
    async def main() -> None:
        async with serving() as served:
            older = await Peer.connect(served)
            newer = await Peer.connect(served)
            failure = await older.failure()
            assert failure.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert failure.details() == "a newer session of worker w took its place"
            assert await newer.heartbeat() == []

    run(main)


def test_a_worker_with_a_stream_may_have_another_process_speak_for_it() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with serving(clock=clock) as served:
            held = await Peer.connect(served, registration("held", slots=1), credit=1)
            await served.executions.StartExecution(start_request())
            running = await held.invocation()
            clock.advance(10_000)
            await served.workers.Heartbeat(worker_pb2.HeartbeatRequest(worker_id="held"))
            clock.advance(10_000)
            await served.registry.close_expired()
            assert await held.heartbeat(running.invocation_id) == []

    run(main)


def test_a_silent_worker_is_closed_and_one_that_beats_is_not() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with serving(clock=clock) as served:
            silent = await Peer.connect(served, registration("silent"))
            beating = await Peer.connect(served, registration("beating"))
            await pass_listening(served, clock, 10_000)
            await beating.heartbeat()
            await pass_listening(served, clock, 10_000)
            failure = await silent.failure()
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
            assert failure.details() == "worker silent sent no heartbeat for 15,000 ms"
            assert await beating.heartbeat() == []

    run(main)


def test_draining_is_announced_and_ends_the_session() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served)
            await served.server.drain()
            failure = await peer.failure()
            assert peer.drained
            assert failure.code() is grpc.StatusCode.UNAVAILABLE

    run(main)


def test_what_is_handed_back_is_offered_again_at_once() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=2)
            await served.executions.StartExecution(start_request())
            first = await peer.invocation()
            tokens = [first.checkpoint_token]
            await peer.send(hand_back=worker_pb2.HandBackRequest(checkpoint_tokens=tokens))
            again = await peer.invocation()
            assert again.execution_arn == first.execution_arn
            assert again.invocation_id != first.invocation_id

    run(main)


def test_a_worker_that_takes_its_leave_hears_its_last_answers() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            request = worker_pb2.CompleteRequest(checkpoint_token=token, status="PENDING")
            call = worker_pb2.CompleteCall(call_id=9, request=request)
            await peer.send(completions=worker_pb2.CompleteBatch(calls=[call]))
            await peer.end()
            assert (await peer.reply(9)).call_id == 9

    run(main)


def test_a_session_has_to_begin_with_a_registration_and_only_begin() -> None:
    async def main() -> None:
        async with serving() as served:
            early = Peer(served)
            await early.send(credit=worker_pb2.Credit(slots=1))
            assert (
                await early.failure()
            ).details() == "the first message of a session must be register"
            late = await Peer.connect(served)
            await late.send(register=registration())
            assert (await late.failure()).code() is grpc.StatusCode.INVALID_ARGUMENT

    run(main)


class SulkingStore(MemoryStore):
    """A store that cannot load for a while."""

    sulks = False
    refused = 0

    async def load(self, key: ExecutionKey) -> StoredExecution | None:
        if self.sulks:
            self.refused += 1
            raise StoreUnavailable("the store sulks")
        return await super().load(key)


def test_a_task_that_cannot_begin_is_offered_again_after_a_while() -> None:
    async def main() -> None:
        clock, store = SteppedClock(), SulkingStore()
        async with serving(clock=clock, store=store) as served:
            await Peer.connect(served)
            await served.executions.StartExecution(start_request())
        # Another node, which has to load the execution first.
        async with serving(clock=clock, store=store) as served:
            store.sulks = True
            peer = await Peer.connect(served, credit=1)
            invocation = asyncio.ensure_future(peer.invocation())
            while not invocation.done():
                clock.advance(1_000)
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
                store.sulks = store.refused < 3
            assert store.refused == 3
            assert invocation.result().function_name == "f"

    run(main)


def test_slots_and_workers_are_counted() -> None:
    async def main() -> None:
        metrics = ServerMetrics()

        def read(name: str) -> float | None:
            return metrics.registry.get_sample_value(f"perdure_{name}")

        async with serving(metrics=metrics) as served:
            peer = await Peer.connect(served, registration(slots=4), credit=4)
            await peer.heartbeat()
            assert (read("workers_connected"), read("slots"), read("slots_in_use")) == (1, 4, 0)
            await served.executions.StartExecution(start_request())
            await peer.invocation()
            assert read("slots_in_use") == 1
            functions = await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            assert [each.workers_connected for each in functions.functions] == [1]

    run(main)


def test_a_worker_id_of_strange_characters_is_refused() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = Peer(served)
            await peer.send(register=registration("a b"))
            assert "worker_id 'a b'" in ((await peer.failure()).details() or "")
            call = served.workers.Register(registration("x" * 129))
            assert "(129 characters)" in ((await failure_of(call)).details() or "")

    run(main)


def test_a_session_hears_at_once_that_an_execution_ended_without_its_invocation() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            started = await served.executions.StartExecution(start_request())
            invocation = await peer.invocation()
            arn = started.execution_arn
            await served.executions.StopExecution(
                client_pb2.StopExecutionRequest(execution_arn=arn)
            )
            message = await peer.read()
            assert message is not None
            assert list(message.heartbeat.lost_invocation_ids) == [invocation.invocation_id]
            assert await peer.heartbeat(invocation.invocation_id) == [invocation.invocation_id]

    run(main)


def test_a_session_hears_nothing_of_an_invocation_that_ends_by_itself() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            invocation = await peer.invocation()
            await peer.complete(invocation.checkpoint_token)
            # What is heard next is the answer to this.
            assert await peer.heartbeat() == []

    run(main)
