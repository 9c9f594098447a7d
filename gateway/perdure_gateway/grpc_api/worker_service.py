"""WorkerService: the Session stream, and the unary calls with the same effects."""

# ruff: noqa: ARG002 - a remote call takes what gRPC hands it

import asyncio
from typing import Any, Final, TypeAlias

import grpc.aio

from perdure_core import limits
from perdure_core.refusals import Invalid, Unknown
from perdure_gateway.admission import validation
from perdure_gateway.admission.malformed import check_well_formed
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.errors import HeartbeatTimeout, NotServing
from perdure_gateway.workers.polling import PollingWorker
from perdure_gateway.workers.registry import WorkerConnection, WorkerRegistry
from perdure_gateway.workers.requests import check_registration
from perdure_gateway.workers.stream_session import WorkerSession
from perdure_proto.v1 import worker_pb2, worker_pb2_grpc

# How long a stream may be open before the worker registers.
REGISTER_S_MAX: Final = 10

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class WorkerService(worker_pb2_grpc.WorkerServiceServicer):
    """Serves workers that hold a stream, and workers that poll."""

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry
        self._requests = registry.requests

    async def Session(  # type: ignore[override] # the stub has no context.read and context.write
        self, request_iterator: Any, context: _Context
    ) -> None:
        try:
            async with asyncio.timeout(REGISTER_S_MAX):
                first = await context.read()
        except TimeoutError:
            raise HeartbeatTimeout(f"the stream must register within {REGISTER_S_MAX} s") from None
        check_well_formed(first)
        if not isinstance(first, worker_pb2.WorkerMessage):
            return
        if first.WhichOneof("message") != "register":
            raise Invalid("the first message of a session must be register")
        check_registration(first.register)
        await WorkerSession(context, self._registry, first.register).run()

    async def Register(
        self, request: worker_pb2.RegisterRequest, context: _Context
    ) -> worker_pb2.RegisterResponse:
        check_registration(request)
        worker = PollingWorker(self._registry, request)
        try:
            return await self._registry.register(request, worker)
        except BaseException:
            worker.close(NotServing("the registration failed"))
            raise

    async def Poll(
        self, request: worker_pb2.PollRequest, context: _Context
    ) -> worker_pb2.PollResponse:
        worker = self._polling_worker(request.worker_id)
        validation.check_range("max_invocations", request.max_invocations, 1, worker.slots)
        validation.check_range("wait_ms", request.wait_ms, 0, limits.POLL_WAIT_MS_MAX)
        return await worker.poll(request.max_invocations, request.wait_ms)

    async def Checkpoint(
        self, request: worker_pb2.CheckpointRequest, context: _Context
    ) -> worker_pb2.CheckpointResponse:
        return await self._requests.checkpoint(request, self._reservation(context))

    async def GetState(
        self, request: worker_pb2.GetStateRequest, context: _Context
    ) -> worker_pb2.GetStateResponse:
        return await self._requests.state_page(request, self._reservation(context))

    async def Complete(
        self, request: worker_pb2.CompleteRequest, context: _Context
    ) -> worker_pb2.CompleteResponse:
        return await self._requests.complete(request, self._reservation(context))

    async def Heartbeat(
        self, request: worker_pb2.HeartbeatRequest, context: _Context
    ) -> worker_pb2.HeartbeatResponse:
        worker = self._connected_worker(request.worker_id)
        worker.record_call()
        if not isinstance(worker, PollingWorker):
            # Its keeper does not know what it runs; its stream reports that.
            return worker_pb2.HeartbeatResponse()
        return await self._requests.heartbeat(request.worker_id, request.invocation_ids)

    async def HandBack(
        self, request: worker_pb2.HandBackRequest, context: _Context
    ) -> worker_pb2.HandBackResponse:
        worker = self._polling_worker(request.worker_id)
        worker.record_call()
        await self._requests.hand_back(request)
        return worker_pb2.HandBackResponse()

    def _reservation(self, context: _Context) -> Reservation:
        return self._registry.budget.for_call(context)

    def _connected_worker(self, worker_id: str) -> WorkerConnection:
        """Return a worker that polls, or one with a stream, for which another process speaks."""
        validation.check_worker_id(worker_id)
        worker = self._registry.find(worker_id)
        if worker is None:
            raise Unknown(f"worker {worker_id} has not registered here; call Register first")
        return worker

    def _polling_worker(self, worker_id: str) -> PollingWorker:
        worker = self._connected_worker(worker_id)
        if not isinstance(worker, PollingWorker):
            raise Unknown(f"worker {worker_id} has not registered here; call Register first")
        return worker
