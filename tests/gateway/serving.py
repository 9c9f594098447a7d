"""A gateway that serves real services over a real port, and peers that tests drive by hand."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio

from perdure_gateway.admission.memory_budget import BUDGET_BYTES_MAX
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.grpc_api.server import GrpcServer
from perdure_gateway.workers.registry import WorkerRegistry, WorkerSettings
from perdure_history.service import HistoryService
from perdure_history.settings import HistorySettings
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.clock import SteadyClock
from perdure_host.listen import Address
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, Store
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService
from perdure_proto.v1 import (
    client_pb2,
    client_pb2_grpc,
    node_pb2_grpc,
    worker_pb2,
    worker_pb2_grpc,
)

DEADLINE_S = 100
# The lease counts in real time; many tests stop the clock by which it would be renewed.
LEASE_MS = 3_600_000


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine; no wait in it may outlast the deadline."""

    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await test()

    asyncio.run(within_deadline())


class SteppedClock(Clock):
    """A clock that a test advances."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._waits: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    async def wait_until(self, due_ms: int) -> None:
        while due_ms > self._now_ms:
            wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waits, (due_ms, id(wait), wait))
            await wait

    # As the clocks of a machine.

    def monotonic_ms(self) -> int:
        return self._now_ms

    async def sleep_ms(self, ms: int) -> None:
        await self.wait_until(self._now_ms + ms)

    def advance(self, ms: int) -> None:
        self._now_ms += ms
        while self._waits and self._waits[0][0] <= self._now_ms:
            wait = heapq.heappop(self._waits)[2]
            if not wait.done():
                wait.set_result(None)


class Served:
    """A gateway with everything behind it, and stubs to call it with."""

    def __init__(
        self, server: GrpcServer, registry: WorkerRegistry, history: HistoryService
    ) -> None:
        self.server = server
        self.registry = registry
        self.history = history
        self.address = ""

    def dial(self, address: str) -> grpc.aio.Channel:
        self.address = address
        channel = grpc.aio.insecure_channel(address)
        # The stubs' own types are those of synchronous channels.
        self.executions = cast(
            "client_pb2_grpc.ExecutionServiceAsyncStub",
            client_pb2_grpc.ExecutionServiceStub(channel),
        )
        self.callbacks = cast(
            "client_pb2_grpc.CallbackServiceAsyncStub", client_pb2_grpc.CallbackServiceStub(channel)
        )
        self.workers = cast(
            "worker_pb2_grpc.WorkerServiceAsyncStub", worker_pb2_grpc.WorkerServiceStub(channel)
        )
        self.nodes = cast(
            "node_pb2_grpc.NodeServiceAsyncStub", node_pb2_grpc.NodeServiceStub(channel)
        )
        return channel


class Bystander:
    """The process around the gateway, as far as NodeService sees it."""

    name = "node-1"
    incarnation = 7

    def __init__(self) -> None:
        self.handed_over = False

    async def hand_over(self) -> None:
        self.handed_over = True


@asynccontextmanager
async def serving(
    *,
    clock: Clock | None = None,
    tokens: Tokens | None = None,
    store: Store | None = None,
    metrics: ServerMetrics | None = None,
    node: Bystander | None = None,
    audit: Audit | None = None,
    overload: Overload | None = None,
) -> AsyncGenerator[Served]:
    """Serve on a port of loopback, over a store in memory."""
    clock = clock or SteadyClock()
    store = store or MemoryStore()
    metrics = metrics or ServerMetrics()
    readiness = Readiness()
    server = GrpcServer(readiness, tokens, audit, overload)
    address = server.listen(Address("127.0.0.1", 0), None)
    await store.open()
    matching = MatchingService(clock, metrics)
    history = HistoryService(
        store=store,
        clock=clock,
        metrics=metrics,
        signer=Signer(await store.secret()),
        matching=matching,
        node_name="node-1",
        address=str(address),
        settings=HistorySettings(lease_ms=LEASE_MS),
    )
    await history.open()
    registry = await server.start(
        history, matching, clock, node or Bystander(), metrics=metrics, settings=WorkerSettings()
    )
    await server.open()
    served = Served(server, registry, history)
    channel = served.dial(str(address))
    try:
        yield served
    finally:
        await channel.close()
        await server.drain()
        await history.close()
        await server.stop()


async def pass_listening(served: Served, clock: SteppedClock, ms: int) -> None:
    """Pass time while the server looks for silent workers, as it does all the time."""
    period_ms = round(served.registry.check_period_s * 1_000)
    for _ in range(ms // period_ms):
        clock.advance(period_ms)
        await served.registry.close_expired()


async def all_is_free(served: Served) -> None:
    """Return once the whole budget is free; a call ends for its caller first."""
    while served.registry.budget.free != BUDGET_BYTES_MAX:
        await others_turn()


async def others_turn() -> None:
    """Run every task of the loop that is ready."""
    await asyncio.sleep(0)


def registration(
    worker_id: str = "w", *, slots: int = 4, **more: Any
) -> worker_pb2.RegisterRequest:
    """Return a worker's registration that serves the function `f`."""
    more.setdefault("functions", [worker_pb2.FunctionDefinition(function_name="f", durable=True)])
    return worker_pb2.RegisterRequest(worker_id=worker_id, slots=slots, **more)


class Peer:
    """A worker at the other end of a Session stream."""

    def __init__(self, served: Served) -> None:
        self._stream = served.workers.Session()
        self._calls = 0
        self._invocations: list[worker_pb2.Invocation] = []
        self._replies: dict[int, worker_pb2.Reply] = {}
        self.drained = False
        self.registered: worker_pb2.RegisterResponse | None = None
        self.batches: list[int] = []

    @classmethod
    async def connect(
        cls, served: Served, request: worker_pb2.RegisterRequest | None = None, *, credit: int = 0
    ) -> "Peer":
        peer = cls(served)
        await peer.send(register=request or registration())
        while peer.registered is None:
            await peer.read()
        if credit:
            await peer.send(credit=worker_pb2.Credit(slots=credit))
        return peer

    async def send(self, **message: Any) -> None:
        await self._stream.write(worker_pb2.WorkerMessage(**message))

    async def read(self) -> worker_pb2.ServerMessage | None:
        """Read one message and sort it; return None at the end of the stream."""
        message = await self._stream.read()
        if not isinstance(message, worker_pb2.ServerMessage):
            return None
        match message.WhichOneof("message"):
            case "registered":
                self.registered = message.registered
            case "invocations":
                self._invocations.extend(message.invocations.invocations)
            case "replies":
                self.batches.append(len(message.replies.replies))
                for reply in message.replies.replies:
                    self._replies[reply.call_id] = reply
            case "draining":
                self.drained = True
            case _:
                pass
        return message

    async def invocation(self) -> worker_pb2.Invocation:
        while not self._invocations:
            await self.read()
        return self._invocations.pop(0)

    async def reply(self, call_id: int) -> worker_pb2.Reply:
        while call_id not in self._replies:
            await self.read()
        return self._replies.pop(call_id)

    async def checkpoint(
        self, token: str, *updates: worker_pb2.OperationUpdate, client_token: str | None = None
    ) -> worker_pb2.Reply:
        self._calls += 1
        request = worker_pb2.CheckpointRequest(
            checkpoint_token=token,
            updates=updates,
            client_token=client_token or f"call-{self._calls}",
        )
        call = worker_pb2.CheckpointCall(call_id=self._calls, request=request)
        await self.send(checkpoints=worker_pb2.CheckpointBatch(calls=[call]))
        return await self.reply(self._calls)

    async def complete(
        self, token: str, status: str = "SUCCEEDED", **more: Any
    ) -> worker_pb2.Reply:
        self._calls += 1
        request = worker_pb2.CompleteRequest(checkpoint_token=token, status=status, **more)
        call = worker_pb2.CompleteCall(call_id=self._calls, request=request)
        await self.send(completions=worker_pb2.CompleteBatch(calls=[call]))
        return await self.reply(self._calls)

    async def heartbeat(self, *invocation_ids: str) -> list[str]:
        await self.send(heartbeat=worker_pb2.HeartbeatRequest(invocation_ids=invocation_ids))
        while True:
            message = await self.read()
            assert message is not None
            if message.WhichOneof("message") == "heartbeat":
                return list(message.heartbeat.lost_invocation_ids)

    async def end(self) -> None:
        """Close the sending side, and read the rest."""
        await self._stream.done_writing()
        while await self.read() is not None:
            pass

    def break_off(self) -> None:
        self._stream.cancel()

    async def failure(self) -> grpc.aio.AioRpcError:
        """Return the error that the stream ends with."""
        try:
            while await self.read() is not None:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the stream ended well")


def step(operation_id: str, action: str, **more: Any) -> worker_pb2.OperationUpdate:
    """Return an update of a STEP."""
    return worker_pb2.OperationUpdate(id=operation_id, type="STEP", action=action, **more)


def start_request(**more: Any) -> client_pb2.StartExecutionRequest:
    """Return a start of the function `f`."""
    more.setdefault("function_name", "f")
    return client_pb2.StartExecutionRequest(**more)


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """Return the error of a call that must fail."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"the call went well: {answer}")
