"""A node with too much to do: it refuses what is new, and goes on with what is under way."""

import asyncio
from collections.abc import Callable, Sequence

import grpc.aio
import pytest

from perdure_gateway.admission import delay
from perdure_gateway.admission.overload import Overload
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Change, OutboxRow, RefusedChange, StatusEventRow
from perdure_proto.v1 import client_pb2
from tests.gateway.serving import (
    Peer,
    Served,
    failure_of,
    registration,
    run,
    serving,
    start_request,
    step,
)


def fall_behind(overload: Overload, delay_s: float) -> None:
    """Let the node be this far behind, from long ago until it is measured again."""
    now_s = asyncio.get_running_loop().time()
    overload.gate.measured(delay_s, now_s - 10.0)
    overload.gate.measured(delay_s, now_s)


class Unmeasured(Overload):
    """An overload whose delay only the test measures."""

    async def measure(self, commit_delay_s: Callable[[], float]) -> None:
        del commit_delay_s


def retry_after(failure: grpc.aio.AioRpcError) -> int:
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(failure.trailing_metadata())
    return int(str(trailers["retry-after"]))


def count(metrics: ServerMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def refused(metrics: ServerMetrics, kind: str, reason: str) -> float | None:
    labels = {"kind": kind, "reason": reason}
    return metrics.registry.get_sample_value("perdure_refused_calls_total", labels)


def test_starts_are_refused_without_a_commit_and_do_not_starve_checkpoints() -> None:
    async def main() -> None:
        metrics = ServerMetrics()
        overload = Unmeasured(metrics)
        async with serving(overload=overload, metrics=metrics) as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            fall_behind(overload, 0.6)
            commits = count(metrics, "perdure_commits_total")
            failures = [
                await failure_of(served.executions.StartExecution(start_request(wait_ms=wait_ms)))
                for wait_ms in (0, 1_000) * 10
            ]
            assert min(map(retry_after, failures)) >= 1
            assert (
                count(metrics, "perdure_commits_total"),
                refused(metrics, "start", "behind"),
            ) == (
                commits,
                20,
            )
            for number in range(10):
                reply = await peer.checkpoint(token, step(str(number), "SUCCEED", payload="1"))
                assert reply.WhichOneof("outcome") == "checkpoint"
                token = reply.checkpoint.checkpoint_token
            unknown = await failure_of(
                served.callbacks.SucceedCallback(client_pb2.SucceedCallbackRequest(callback_id="x"))
            )
            assert unknown.code() is grpc.StatusCode.INVALID_ARGUMENT
            fall_behind(overload, 0.0)
            await served.executions.StartExecution(start_request())

    run(main)


def test_callbacks_are_refused_when_the_node_is_far_behind_and_reads_never() -> None:
    async def main() -> None:
        overload = Unmeasured()
        async with serving(overload=overload) as served:
            fall_behind(overload, 3.0)
            for call in (
                served.callbacks.SucceedCallback(client_pb2.SucceedCallbackRequest()),
                served.callbacks.HeartbeatCallback(client_pb2.HeartbeatCallbackRequest()),
            ):
                assert retry_after(await failure_of(call)) >= 1
            await served.executions.ListExecutions(client_pb2.ListExecutionsRequest())

    run(main)


class SlowStore(MemoryStore):
    """A store whose commits wait until the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def commit(
        self,
        incarnation: int,
        changes: Sequence[Change],
        outbox_done: Sequence[OutboxRow] = (),
        status_events_done: Sequence[StatusEventRow] = (),
    ) -> tuple[RefusedChange, ...]:
        await self.goes_on.wait()
        return await super().commit(incarnation, changes, outbox_done, status_events_done)


def test_refusals_begin_when_commits_are_late_and_end_with_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(delay.TARGET_S, delay.Kind.START, 0.2)
    monkeypatch.setattr(delay, "STANDING_S", 0.1)

    async def main() -> None:
        store = SlowStore()
        async with serving(store=store) as served:
            await Peer.connect(served)
            store.goes_on.clear()
            starts: list[asyncio.Task[object]] = []
            while not any(each.done() for each in starts):
                starts.append(start(served))
                await asyncio.wait(starts, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
            late = [each for each in starts if each.done()]
            admitted = [each for each in starts if not each.done()]
            assert retry_after(await failure_of(late[0])) >= 1
            assert len(admitted) >= 2
            store.goes_on.set()
            # Everything that was admitted is started.
            await asyncio.gather(*admitted)
            while not await is_admitted(start(served)):
                pass

    run(main)


def start(served: Served) -> "asyncio.Task[object]":
    async def call() -> object:
        return await served.executions.StartExecution(start_request())

    return asyncio.ensure_future(call())


async def is_admitted(call: "asyncio.Task[object]") -> bool:
    await asyncio.wait((call,))
    return call.exception() is None


def test_clients_that_wait_take_no_place_of_workers_nor_of_other_calls() -> None:
    async def main() -> None:
        metrics = ServerMetrics()
        overload = Overload(metrics, calls_max=3, waits_max=2)
        async with serving(overload=overload, metrics=metrics) as served:
            await Peer.connect(served, registration("first"))
            arn = (await served.executions.StartExecution(start_request())).execution_arn
            wait = client_pb2.GetExecutionRequest(execution_arn=arn, wait_ms=60_000)
            waits = [asyncio.ensure_future(waited(served, wait)) for _ in range(2)]
            while overload.has_place_to_wait:
                await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            assert retry_after(await failure_of(served.executions.GetExecution(wait))) >= 1
            assert refused(metrics, "wait", "waits") == 1
            # A start is answered at once.
            answer = await served.executions.StartExecution(start_request(wait_ms=60_000))
            assert answer.execution.status == "RUNNING"
            with overload.calling():
                listing = served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
                assert retry_after(await failure_of(listing)) >= 1
                assert refused(metrics, "call", "calls") == 1
                second = await Peer.connect(served, registration("second"), credit=2)
                await second.invocation()
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    run(main)


async def waited(served: Served, request: client_pb2.GetExecutionRequest) -> object:
    return await served.executions.GetExecution(request)


def test_a_start_whose_caller_waits_is_refused_behind_a_long_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delay, "QUEUED_STARTS_MIN", 3)
    monkeypatch.setattr(delay, "QUEUE_S_MAX", 0.0)

    async def main() -> None:
        metrics = ServerMetrics()
        async with serving(overload=Unmeasured(metrics), metrics=metrics) as served:
            await Peer.connect(served)
            for _ in range(3):
                await served.executions.StartExecution(start_request(wait_ms=1))
            late = await failure_of(served.executions.StartExecution(start_request(wait_ms=1)))
            assert retry_after(late) >= 1
            assert "wait for a worker" in str(late.details())
            assert refused(metrics, "start", "queue") == 1
            await served.executions.StartExecution(start_request())

    run(main)
